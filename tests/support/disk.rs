//! A disk of its own for a test: filled, broken, made read-only.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Past the test runner's capture: who reads the end of a run must see what was not tested.
pub fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A small file system of its own.
pub struct Disk {
    image: PathBuf,
    /// Where it is mounted.
    pub mount: PathBuf,
}

impl Disk {
    /// `None` where this machine allows no loop mounts.
    pub fn make(directory: &Path) -> Option<Self> {
        let (image, mount) = (directory.join("disk"), directory.join("mount"));
        std::fs::create_dir(&mount).unwrap();
        let path = image.to_str().unwrap();
        let is_made = run("truncate", &["-s", "640M", path]) && run("mkfs.ext4", &["-q", "-F", "-m", "0", path]);
        let disk = Self { image, mount };
        (is_made && disk.mount("rw")).then_some(disk)
    }

    /// Mounts it, `rw` or `ro`; whether that went well.
    pub fn mount(&self, how: &str) -> bool {
        run("mount", &["-o", &format!("loop,{how}"), self.image.to_str().unwrap(), self.mount.to_str().unwrap()])
    }

    /// From now on every operation fails, as on a disk that is gone; what was not synced is lost.
    pub fn break_down(&self) -> bool {
        // EXT4_IOC_SHUTDOWN without flushing the log.
        let script =
            "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        run("python3", &["-c", script, self.mount.to_str().unwrap()])
    }

    /// The bytes that are free.
    pub fn free(&self) -> u64 {
        let room = rustix::fs::statvfs(&self.mount).unwrap();
        room.f_bavail * room.f_frsize
    }

    /// Takes all the room that there is, at once.
    pub fn fill(&self) {
        for number in 0.. {
            let free = self.free();
            if free < 64 << 10 || number > 200 {
                return;
            }
            let length = if number % 2 == 0 { free } else { free / 2 };
            run("fallocate", &["-l", &length.to_string(), self.mount.join(format!("filler{number}")).to_str().unwrap()]);
        }
    }

    /// Gives back what was taken.
    pub fn make_room(&self) {
        for entry in std::fs::read_dir(&self.mount).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().starts_with("filler") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// Takes it out; who used it must be gone.
    pub fn unmount(&self) -> bool {
        for _ in 0..100 {
            if run("umount", &[self.mount.to_str().unwrap()]) {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// `carillon log verify` where no server runs: what it says, and its exit code.
pub fn verify(data: &Path) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_carillon")).args(["log", "verify", "--data"]).arg(data).output().unwrap();
    (String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(), output.status.code().unwrap())
}
