//! Internal clients of a source: their tokens and what they may do.

use segment_source_proto::config::v1::{self as wire, access::Right};

use super::Compiler;
use crate::{Access, AccessRight, SegmentSourceSpec};

/// Fewer bytes than this can be guessed.
const ENOUGH: usize = 16;

impl Compiler<'_> {
    pub(super) fn access(&mut self, spec: &SegmentSourceSpec) -> Vec<wire::Access> {
        self.unique("spec.access", spec.access.iter().map(|it| it.name.as_str()));
        let mut all: Vec<wire::Access> = Vec::new();
        for (at, access) in spec.access.iter().enumerate() {
            let field = format!("spec.access[{at}]");
            let one = self.client(&field, access);
            let same = |it: &wire::Access| it.token == one.token && !is_empty(it);
            if let Some(other) = all.iter().position(same) {
                let message = format!(
                    "has the same token as spec.access[{other}]; who presents it may do what \
                     either of them may, so give each client a token of its own"
                );
                self.warn(format!("{field}.tokenSecretRef"), message);
            }
            all.push(one);
        }
        all
    }

    fn client(&mut self, field: &str, access: &Access) -> wire::Access {
        self.label(&format!("{field}.name"), &access.name);
        if access.can.is_empty() {
            self.problem(format!("{field}.can"), "must have at least one entry");
        }
        let mut rights: Vec<i32> = access.can.iter().map(|it| right(*it).into()).collect();
        rights.sort_unstable();
        rights.dedup();
        let token = self.token(&format!("{field}.tokenSecretRef"), access);
        wire::Access {
            name: access.name.clone(),
            token: Some(wire::SecretValue { value: token.into() }),
            rights,
        }
    }

    /// The value without whitespace around it, which no client could send; empty while there is
    /// none.
    fn token(&mut self, field: &str, access: &Access) -> Vec<u8> {
        let (name, key) = (&access.token_secret_ref.name, &access.token_secret_ref.key);
        let Some(value) = self.look_up(field, &access.token_secret_ref) else {
            return Vec::new();
        };
        let token = value.trim_ascii();
        let what = format!("the value of key `{key}` of Secret `{name}`");
        if token.is_empty() {
            self.unresolved(field, format!("{what} is only whitespace; set a token"));
            return Vec::new();
        }
        if token.len() < value.len() {
            self.warn(
                field,
                format!(
                    "{what} has whitespace or line breaks around it; the token is what is between \
                     them"
                ),
            );
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            self.warn(
                field,
                format!(
                    "{what} has spaces or characters other than ASCII, which no client can send in \
                     a header; use letters and digits"
                ),
            );
        }
        if token.len() < ENOUGH {
            self.warn(
                field,
                format!(
                    "{what} is shorter than {ENOUGH} bytes and can be guessed; use a random one, \
                     such as `openssl rand -hex 32` writes"
                ),
            );
        }
        token.to_vec()
    }
}

fn is_empty(access: &wire::Access) -> bool {
    access.token.as_ref().is_none_or(|token| token.value.is_empty())
}

fn right(right: AccessRight) -> Right {
    match right {
        AccessRight::Submit => Right::Submit,
        AccessRight::Consume => Right::Consume,
        AccessRight::Read => Right::Read,
        AccessRight::Operate => Right::Operate,
    }
}
