//! Keys of the platform for `provider: local`, as files of the folder that the operator is given. A
//! test tells them apart by name only.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Env, binary, tools};

impl Env {
    /// Makes a key of the platform or another version of it, such as `standard.1`, in base64.
    pub fn add_kek(&self, file: &str) {
        let mut key = [0; 32];
        rand::fill(&mut key).expect("random bytes");
        let text = STANDARD.encode(key);
        self.put_kek(file, format!("{text}\n").as_bytes());
        self.guard([text, binary::hex(&key)]);
    }

    /// Puts a file there as it is, such as one that was taken away.
    pub fn put_kek(&self, file: &str, content: &[u8]) {
        let path = self.kek_dir.join(file);
        tools::replace_file(&path, content, self.dir.path()).expect("write a key");
    }

    /// Takes a file away, and gives what was in it.
    pub fn take_kek(&self, file: &str) -> Vec<u8> {
        let path = self.kek_dir.join(file);
        let content = std::fs::read(&path).expect("read a key");
        std::fs::remove_file(&path).expect("remove a key");
        content
    }
}
