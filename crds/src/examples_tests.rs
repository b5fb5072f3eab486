//! The example manifests of the documentation are right, and tell of nothing that needs attention.

use std::{fs, path::Path};

use crate::{Manifest, Reader, compile, references};

#[test]
fn every_example_is_read_and_compiled_without_a_word() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let (reader, mut names) = (Reader::default(), Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for document in reader.read(&fs::read_to_string(&path).unwrap()).unwrap() {
            let source = match document.content {
                Ok(Manifest::Source(source)) => source,
                Ok(Manifest::Secret(_)) => continue,
                other => panic!("{name}: {other:?}"),
            };
            let secrets = |name: &str, key: &str| {
                let named =
                    references(&source.spec).iter().any(|it| it.name == name && it.key == key);
                named.then(|| {
                    format!("a secret long enough for {name}/{key}").replace(' ', "-").into()
                })
            };
            let compiled = compile(&source, &secrets).unwrap_or_else(|it| panic!("{name}: {it:?}"));
            assert_eq!((compiled.unresolved, compiled.warnings), (vec![], vec![]), "{name}");
        }
        names.push(name);
    }
    names.sort();
    let all = ["access", "batches", "directory", "full", "http", "knock", "rotation", "small"];
    assert_eq!(names, all.map(|name| format!("{name}.yaml")));
}
