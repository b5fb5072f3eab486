//! The patterns of the schema, each with what to tell people whose text does not match: a regular
//! expression is no message. The API server only knows the expression.

use std::sync::LazyLock;

use regex::Regex;

use crate::manifest::NOT_A_LABEL;

/// A DNS label: names of mappings, destinations and clients.
pub(crate) const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A name that expressions can read.
pub(crate) const IDENTIFIER: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// The name of a Secret.
pub(crate) const SECRET_NAME: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The key inside a Secret.
pub(crate) const SECRET_KEY: &str = "^[-._a-zA-Z0-9]+$";
/// A duration as Go and Kubernetes write it.
pub(crate) const DURATION: &str = r"^(([0-9]{1,15}(\.[0-9]{0,9})?|\.[0-9]{1,9})(h|m|s|ms))+$";
/// A token of RFC 9110, section 5.6.2.
pub(crate) const HEADER: &str = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$";
/// An absolute URL of HTTP, without user name and fragment.
pub(crate) const URL: &str = concat!(
    r"^https?://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z]([-._0-9A-Za-z]*[0-9A-Za-z])?)(:[1-9][0-9]{0,4})?",
    r#"([/?][!-"$-~]*)?$"#
);
/// What paths are appended to: a URL that ends without a slash, and has no query.
pub(crate) const BASE_URL: &str = concat!(
    r"^https?://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z]([-._0-9A-Za-z]*[0-9A-Za-z])?)(:[1-9][0-9]{0,4})?",
    r"(/[-._~!$&'()*+,;=:@%0-9A-Za-z]+)*$"
);
/// Bytes, with a suffix of Kubernetes.
pub(crate) const QUANTITY: &str = "^[0-9]{1,15}(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$";

pub(crate) const NO_IDENTIFIER: &str = "must be letters, digits and `_`, not starting with a \
                                        digit, as it is read as `preprocess.<name>`";
pub(crate) const NO_DURATION: &str =
    "is not a duration; write hours, minutes and seconds like `24h` or `1m30s`";
pub(crate) const NO_QUANTITY: &str = "is not an amount of space; write it like `500Mi` or `10Gi`";
pub(crate) const NO_HEADER: &str = "is not the name of an HTTP header; use letters, digits and `-`";

const ALL: [(&str, &str); 9] = [
    (LABEL, NOT_A_LABEL),
    (IDENTIFIER, NO_IDENTIFIER),
    (
        SECRET_NAME,
        "is not the name of a Secret; use lower-case letters, digits, `-` and `.`, starting and \
         ending with a letter or digit",
    ),
    (SECRET_KEY, "is not a key of a Secret; use letters, digits, `-`, `_` and `.`"),
    (DURATION, NO_DURATION),
    (HEADER, NO_HEADER),
    (
        URL,
        "is no URL that can be posted to; write `https://` or `http://`, a host and a path, without \
         spaces, user name and `#`",
    ),
    (
        BASE_URL,
        "is no base of an API; write `https://` or `http://`, a host and perhaps a path, without a \
         slash at the end, user name, `?` and `#`",
    ),
    (QUANTITY, NO_QUANTITY),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let compiled = ALL.iter().map(|(pattern, message)| Some((Regex::new(pattern).ok()?, *message)));
    compiled.flatten().collect()
});

/// What is wrong with a text that has to match a pattern of the schema.
pub(crate) fn mismatch(pattern: &str, text: &str) -> Option<&'static str> {
    let (regex, message) = COMPILED.iter().find(|(regex, _)| regex.as_str() == pattern)?;
    (!regex.is_match(text)).then_some(*message)
}

#[cfg(test)]
mod tests {
    use super::{ALL, COMPILED, DURATION, LABEL, mismatch};
    use crate::crd::each;

    #[test]
    fn every_pattern_of_the_crd_has_words() {
        assert_eq!(COMPILED.len(), ALL.len());
        let mut used = std::collections::BTreeSet::new();
        let root = crate::crd().spec.versions.remove(0).schema.unwrap();
        each(&mut root.open_api_v3_schema.unwrap(), &mut |schema| {
            used.extend(schema.pattern.clone());
        });
        assert_eq!(used, ALL.iter().map(|(pattern, _)| (*pattern).to_owned()).collect());
    }

    #[test]
    fn patterns_match_what_the_compiler_takes() {
        let right = ["24h", "1m30s", "1.5h", ".5s", "1.h", "1h0m0.250s", "250ms", "0s"];
        let wrong = ["24", "h", "1d", "-1h", "1 h", "1h ", "1e9h", ".h", "9999999999999999h"];
        for (texts, matches) in [(&right[..], true), (&wrong[..], false)] {
            for text in texts {
                assert_eq!(mismatch(DURATION, text).is_none(), matches, "{text}");
                assert_eq!(crate::compile::duration::parse(text).is_some(), matches, "{text}");
            }
        }
        for text in ["a", "0", "a-b", "a--9", "-a", "a-", "A", "a.b", "a\n", "ä"] {
            let is_label = segment_source_core::source::is_label(text);
            assert_eq!(mismatch(LABEL, text).is_none(), is_label, "{text}");
        }
    }
}
