//! What a power cut would leave of the store: the program runs with a shim (`tools/powercut`)
//! that keeps apart what was synced, and from that a folder is made to start from.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use crate::{process::root, server::Launch, site::Site};

/// The shim, built and given folders.
#[derive(Debug)]
pub struct PowerCut {
    library: PathBuf,
    watch: PathBuf,
    shadow: PathBuf,
    swallow: PathBuf,
    count: PathBuf,
    slow: Option<Duration>,
}

impl PowerCut {
    /// Builds the shim for the store of `site`.
    ///
    /// # Panics
    /// When there is no C compiler (`cc`).
    #[must_use]
    pub fn of(site: &Site) -> Self {
        Self::of_folder(site.path(), "store")
    }

    /// Builds the shim for what is written below `watch` in this folder, where its own files are too.
    ///
    /// # Panics
    /// As [`PowerCut::of`].
    #[must_use]
    pub fn of_folder(folder: &Path, watch: &str) -> Self {
        // As /proc shows it to the shim.
        let folder = folder.canonicalize().expect("the folder is there");
        let cut = Self {
            library: folder.join("powercut.so"),
            watch: folder.join(watch),
            shadow: folder.join("synced"),
            swallow: folder.join("swallow"),
            count: folder.join("slow-syncs"),
            slow: None,
        };
        fs::create_dir(&cut.shadow).expect("a folder for synced bytes");
        let source = root().join("tests/tools/powercut/shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&cut.library).arg(source);
        let built = cc.args(["-ldl", "-lpthread"]).status().expect("there is a C compiler, `cc`");
        assert!(built.success(), "the shim is built: {built}");
        cut
    }

    /// With a disk on which a sync takes so long at the most, and a quarter of it at the least.
    #[must_use]
    pub fn slow(self, longest: Duration) -> Self {
        Self { slow: Some(longest), ..self }
    }

    /// How many syncs were slow so far.
    #[must_use]
    pub fn slow_syncs(&self) -> u64 {
        fs::metadata(&self.count).map_or(0, |file| file.len())
    }

    /// Loads the shim into the program to be started.
    #[must_use]
    pub fn load_into(&self, launch: Launch) -> Launch {
        self.environment().iter().fold(launch, |launch, (name, value)| launch.env(name, value))
    }

    /// The same for any program.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("POWERCUT_WATCH", self.watch.display().to_string()),
            ("POWERCUT_SHADOW", self.shadow.display().to_string()),
            ("POWERCUT_SWALLOW", self.swallow.display().to_string()),
        ];
        if let Some(slow) = self.slow {
            all.push(("POWERCUT_SLOW", slow.as_millis().to_string()));
            all.push(("POWERCUT_COUNT", self.count.display().to_string()));
        }
        all
    }

    /// From now on syncs do nothing, as if the program did not call them.
    ///
    /// # Panics
    /// When the shim cannot be told.
    pub fn take_syncs_out(&self) {
        File::create(&self.swallow).expect("the shim can be told");
    }

    /// Replaces the store by what a power cut leaves of it. The program must have been killed.
    ///
    /// # Panics
    /// When the folders cannot be read or written.
    pub fn cut(&self) {
        let left = self.watch.with_extension("left");
        self.rebuild(&self.watch, &left);
        fs::remove_dir_all(&self.watch).expect("the store is removed");
        fs::rename(&left, &self.watch).expect("what is left takes its place");
    }

    fn rebuild(&self, from: &Path, to: &Path) {
        fs::create_dir(to).expect("a folder is made");
        for entry in fs::read_dir(from).expect("the store can be listed") {
            let entry = entry.expect("the store can be listed");
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().expect("a file has a type");
            if kind.is_dir() {
                self.rebuild(&path, &target);
            } else if kind.is_file() {
                self.rebuild_file(&path, &target);
            }
        }
    }

    fn rebuild_file(&self, path: &Path, target: &Path) {
        let real = fs::metadata(path).expect("the file is there");
        let born = real.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let born = born.unwrap_or_default();
        let name = format!("{}-{}.{:09}", real.ino(), born.as_secs(), born.subsec_nanos());
        let synced = self.shadow.join(name);
        if !synced.is_file() {
            File::create(target).expect("an empty file is made");
            return;
        }
        fs::copy(&synced, target).expect("the synced bytes are copied");
        let file = File::options().write(true).open(target).expect("the copy is there");
        let length = file.metadata().expect("the copy is there").len();
        // Shortening counts as durable at once.
        file.set_len(length.min(real.len())).expect("the copy is shortened");
    }
}
