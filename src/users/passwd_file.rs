//! Users of a Dovecot-style passwd-file: `user:{SCHEME}hash:...`; what stands behind the hash is not ours.

use super::password::Hash;
use super::{Table, UserName};

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Users that were new.
    pub added: usize,
    /// Users that existed and have the file's password now.
    pub updated: usize,
    /// Lines that were left out: number, counted from 1, and why.
    pub refused: Vec<(usize, String)>,
}

/// Takes over all lines that can be understood.
pub fn import(table: &mut Table, text: &str) -> Imported {
    let mut imported = Imported::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match parse(line) {
            Ok((name, hash)) if table.users.contains_key(&name) => {
                imported.updated += usize::from(table.set_hash(&name, hash).is_ok());
            }
            Ok((name, hash)) => imported.added += usize::from(table.add(name, hash).is_ok()),
            Err(why) => imported.refused.push((index + 1, why)),
        }
    }
    imported
}

fn parse(line: &str) -> Result<(UserName, Hash), String> {
    let mut fields = line.split(':');
    let name = UserName::new(fields.next().unwrap_or("")).map_err(|failure| failure.text)?;
    let hash = Hash::parse(fields.next().unwrap_or(""))?;
    Ok((name, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_or_reported() {
        let mut table = Table::default();
        let text = "# users\n\nalice:{PLAIN}one:1000:1000::/home/alice::userdb_quota=1G\nbob:{plain}two\r\n\
                    carol:{MD5}three\n../x:{PLAIN}four\ndave\nAlice:{PLAIN}five\n";
        let imported = import(&mut table, text);
        assert_eq!((imported.added, imported.updated), (2, 1));
        assert_eq!(imported.refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 6, 7]);
        assert!(imported.refused.iter().all(|(_, why)| !why.contains("three") && !why.contains("four")));
        assert!(table.users[&UserName::new("alice").unwrap()].hash.verify(b"five"));
        assert!(table.users[&UserName::new("bob").unwrap()].hash.verify(b"two"));
    }
}
