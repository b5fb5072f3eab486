//! Reads the files of a folder; nothing is understood here.

use std::{
    collections::hash_map::DefaultHasher,
    ffi::OsStr,
    fs,
    hash::{Hash as _, Hasher as _},
    io::{self, Read as _},
    path::Path,
};

/// A file's content, or why it cannot be read, for people.
pub(crate) type Content = Result<String, String>;

/// Name and content of every manifest file, in the order of their names; or why the folder cannot
/// be read.
pub(crate) type Listing = Result<Vec<(String, Content)>, String>;

/// One look at a folder.
pub(crate) struct Look {
    /// What was found.
    pub(crate) listing: Listing,
    /// The same for two looks when no file was written in between; only compared inside this
    /// process. Contents alone do not tell: a file may be found empty twice while it is rewritten.
    pub(crate) fingerprint: u64,
}

/// Larger files are refused: no manifest is that large.
const MAX_BYTES: u64 = 8 << 20;

/// Reads all `*.yaml`, `*.yml` and `*.json` files of a folder, links followed, hidden ones and
/// subfolders left out.
pub(crate) fn look(folder: &Path) -> Look {
    let mut hasher = DefaultHasher::new();
    let listing = list(folder, &mut hasher).map_err(|error| {
        let folder = folder.display();
        format!("cannot read the folder {folder}: {error}; make it, or name another with --config")
    });
    listing.hash(&mut hasher);
    Look { listing, fingerprint: hasher.finish() }
}

fn list(folder: &Path, hasher: &mut DefaultHasher) -> io::Result<Vec<(String, Content)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
        if name.starts_with('.') || !is_manifest(&path) || path.is_dir() {
            continue;
        }
        files.push((name.to_owned(), path));
    }
    files.sort();
    let mut contents = Vec::with_capacity(files.len());
    for (name, path) in files {
        // Gone since it was listed, or a link that leads nowhere: as if it were not there.
        if let Ok(metadata) = fs::metadata(&path) {
            metadata.modified().ok().hash(hasher);
            // Opening a pipe may wait for ever.
            let content = match metadata.is_file() {
                true => read(&path),
                false => Err("is not a regular file; only those are read".to_owned()),
            };
            contents.push((name, content));
        }
    }
    Ok(contents)
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|it| ["yaml", "yml", "json"].contains(&it))
}

/// Reads one file.
pub(crate) fn read(path: &Path) -> Content {
    let length = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > MAX_BYTES {
        return Err(format!("has {length} bytes; at most {MAX_BYTES} are read"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    // It grew meanwhile, or it is a device that says it is empty and never ends.
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("has more than {MAX_BYTES} bytes; at most that many are read"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}
