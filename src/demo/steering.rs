//! The proxy's configuration file and its state, in a folder of their own that goes when the demo goes.
//!
//! `stage` has the file written, `conductor` looks whether somebody else has changed it. It is written once.

use std::fs::{self, DirBuilder};
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
    token: String,
    written: String,
}

impl Steering {
    /// Writes the file for the first time: everything goes to the old platform.
    ///
    /// # Errors
    /// Names the folder that can't be written.
    pub(super) fn take(folder: &Folder, platforms: [SocketAddr; 2]) -> Result<Self, DemoError> {
        let (path, token_file) = (folder.0.join("crossfade.toml"), folder.0.join("token"));
        let written = configuration(platforms, &folder.0, &token_file);
        let token = format!("{:032x}", fastrand::u128(..));
        let write = || fs::write(&token_file, &token).and_then(|()| fs::write(&path, &written));
        write().map_err(|error| DemoError::Folder(folder.0.display().to_string(), error))?;
        Ok(Self { path, token, written })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What lets into the admin API.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Whether somebody else has written the file. One that is away for a moment is being written.
    pub(super) fn is_foreign(&self) -> bool {
        fs::read(&self.path).is_ok_and(|bytes| !bytes.is_empty() && bytes != self.written.as_bytes())
    }
}

fn configuration(platforms: [SocketAddr; 2], state: &Path, token_file: &Path) -> String {
    let [heroku, fly] = platforms;
    let (old, new) = (Side::Old.name(), Side::New.name());
    let (state, token_file) = (state.display(), token_file.display());
    format!(
        r#"# The demo's proxy serves by this file. Change the weights and save: they are live at once, and commands give
# way. A mistake changes nothing. From your first change on, the demo leaves the weights alone.

[[routes]]
name    = "web"
stable  = "{old}"
weights = {{ {old} = 100, {new} = 0 }}
sticky  = "cookie"                            # or "none"
pin     = {{ header = "X-Crossfade-Backend" }}  # names a backend, whatever the weights

[backends.{old}]
url = "http://{heroku}"

[backends.{new}]
url = "http://{fly}"

[server]
http             = "127.0.0.1:0"
metrics          = "127.0.0.1:0"
admin            = "127.0.0.1:0"
admin_token_file = '{token_file}'
drain_timeout    = "2s"

[state]
dir = '{state}'

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
    fn the_file_is_a_configuration_without_a_warning() {
        let folder = Folder::create().unwrap();
        let text = steering(&folder).written;
        let loaded = crate::config::load(&text, &|_| None).unwrap();
        assert_eq!(loaded.warnings.len(), 0);
    }

    #[test]
    fn a_foreign_hand_is_noticed_and_our_own_is_not() {
        let folder = Folder::create().unwrap();
        let steering = steering(&folder);
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
