//! The steering wheel: the proxy's configuration file, in a folder of its own that goes when the demo goes.
//!
//! `conductor` shifts weights by writing it anew, as an operator would. Once somebody else has written it,
//! it is theirs: it must never be overwritten then.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{DemoError, Side};

/// A folder that only we can enter, until dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new one among the machine's temporary files.
    ///
    /// # Errors
    /// Names where it can't be.
    pub(super) fn create() -> Result<Self, DemoError> {
        let parent = std::env::temp_dir();
        let path = parent.join(format!("crossfade-demo-{:08x}", fastrand::u32(..)));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| DemoError::Folder(parent.display().to_string(), error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed from the temporary files, the machine removes.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The configuration file.
#[derive(Debug)]
pub(super) struct Steering {
    path: PathBuf,
    platforms: [SocketAddr; 2],
    written: String,
}

impl Steering {
    /// Writes the file for the first time: everything goes to the old platform.
    ///
    /// # Errors
    /// Names the folder that can't be written.
    pub(super) fn take(folder: &Folder, platforms: [SocketAddr; 2]) -> Result<Self, DemoError> {
        let mut this = Self { path: folder.0.join("crossfade.toml"), platforms, written: String::new() };
        let written = this.write(0);
        written.map_err(|error| DemoError::Folder(folder.0.display().to_string(), error))?;
        Ok(this)
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the new platform so many percent. The file changes at once and whole: it is renamed.
    ///
    /// # Errors
    /// What the machine said.
    pub(super) fn write(&mut self, percent: u8) -> io::Result<()> {
        let text = configuration(self.platforms, percent);
        let draft = self.path.with_extension("draft");
        fs::write(&draft, &text)?;
        fs::rename(&draft, &self.path)?;
        self.written = text;
        Ok(())
    }

    /// Whether somebody else has written the file. One that is away for a moment is being written.
    pub(super) fn is_foreign(&self) -> bool {
        fs::read(&self.path).is_ok_and(|bytes| !bytes.is_empty() && bytes != self.written.as_bytes())
    }
}

fn configuration(platforms: [SocketAddr; 2], percent: u8) -> String {
    let [heroku, fly] = platforms;
    let (old, new) = (Side::Old.name(), Side::New.name());
    let rest = 100 - percent;
    format!(
        r#"# The demo's proxy serves by this file. Change the weights and save: they are live at once. A mistake changes
# nothing. From your first change on, the demo leaves this file alone.

[[routes]]
name    = "web"
stable  = "{old}"
weights = {{ {old} = {rest}, {new} = {percent} }}
sticky  = "cookie"                            # or "none"
pin     = {{ header = "X-Crossfade-Backend" }}  # names a backend, whatever the weights

[backends.{old}]
url = "http://{heroku}"

[backends.{new}]
url = "http://{fly}"

[server]
http          = "127.0.0.1:0"
metrics       = "127.0.0.1:0"
drain_timeout = "2s"

[access_log]
target = "off"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steering(folder: &Folder) -> Steering {
        Steering::take(folder, [SocketAddr::from(([127, 0, 0, 1], 1)); 2]).unwrap()
    }

    #[test]
    fn the_file_is_a_configuration_without_a_warning_at_any_weight() {
        for percent in 0..=100 {
            let text = configuration([SocketAddr::from(([127, 0, 0, 1], 1)); 2], percent);
            let loaded = crate::config::load(&text, &|_| None).unwrap();
            assert_eq!(loaded.warnings.len(), 0, "{percent}");
        }
    }

    #[test]
    fn a_foreign_hand_is_noticed_and_our_own_is_not() {
        let folder = Folder::create().unwrap();
        let mut steering = steering(&folder);
        steering.write(5).unwrap();
        assert!(!steering.is_foreign());
        fs::write(steering.path(), "# mine").unwrap();
        assert!(steering.is_foreign());
        fs::remove_file(steering.path()).unwrap();
        assert!(!steering.is_foreign(), "being renamed");
    }

    #[test]
    fn the_folder_is_ours_alone_and_goes_with_what_is_in_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::create().unwrap();
        let path = folder.0.clone();
        drop(steering(&folder));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
