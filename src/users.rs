//! The users: one file in the data directory (name, account id, hash), written anew, synced and renamed. No name ever becomes a path.

mod any;
mod passwd_file;
pub mod password;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use carillon_actors::id::AccountId;
use carillon_actors::session::auth::{Authenticator, Verdict};
use unicode_normalization::UnicodeNormalization as _;

use crate::exit::{Exit, Failure, failed};
pub use any::AnyUser;
pub use passwd_file::{Imported, import};
use password::Hash;

/// The first line of the file.
const HEADER: &str = "carillon users 1";

/// A user's name as it is compared and stored: lower case, NFC (as RFC 8265 maps user names).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// The name, or why it is none.
    ///
    /// # Errors
    /// Empty, too long, or with a character that would make it ambiguous in a file, a path, an address or a terminal.
    pub fn new(text: &str) -> Result<Self, Failure> {
        let refuse =
            |why: &str| Err(Failure::new(Exit::Usage, format!("{:?} is no user name: {why}", text.get(..80).unwrap_or(text))));
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return refuse("it must have 1 to 255 bytes");
        }
        let is_forbidden = |character: char| {
            character.is_control()
                || character.is_whitespace()
                || ":/\\\"<>*,;()[]".contains(character)
                || is_invisible(character)
        };
        if text.chars().any(is_forbidden) {
            return refuse("control characters, spaces and : / \\ \" < > * , ; ( ) [ ] are not allowed");
        }
        let name: String = text.to_lowercase().nfc().collect();
        if name.len() > Self::MAX_BYTES { refuse("it must have 1 to 255 bytes") } else { Ok(Self(name)) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that make two names look alike or turn the reading direction.
pub fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}')
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The account that holds the mail.
    pub account: AccountId,
    /// The password's hash.
    pub hash: Hash,
}

/// The contents of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// By name.
    pub users: BTreeMap<UserName, User>,
    /// Users that were removed, and their accounts, whose mail is kept aside; in the order of removal.
    pub removed: Vec<(UserName, AccountId)>,
}

impl Table {
    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, line)| line != HEADER) {
            return Err("the first line is not the one of a users file of this version".to_owned());
        }
        let mut table = Self::default();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
            table.add_line(line).ok_or_else(|| format!("line {} cannot be understood", index + 1))?;
        }
        Ok(table)
    }

    fn add_line(&mut self, line: &str) -> Option<()> {
        let mut fields = line.split('\t');
        let (kind, name, account) = (fields.next()?, fields.next()?, fields.next()?);
        let name = UserName::new(name).ok()?;
        let account = AccountId(u64::from_str_radix(account, 16).ok()?);
        match (kind, fields.next(), fields.next()) {
            ("user", Some(hash), None) => {
                let hash = Hash::parse(hash).ok()?;
                if self.users.insert(name, User { account, hash }).is_some() { None } else { Some(()) }
            }
            ("removed", None, None) => {
                self.removed.push((name, account));
                Some(())
            }
            _ => None,
        }
    }

    fn write(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for (name, user) in &self.users {
            text.push_str(&format!("user\t{}\t{}\t{}\n", name.as_str(), user.account, user.hash.expose()));
        }
        for (name, account) in &self.removed {
            text.push_str(&format!("removed\t{}\t{account}\n", name.as_str()));
        }
        text
    }

    /// A user whose password is checked for a name that nobody has: the check takes as long as some user's does, and always the same user's
    /// for the same name. So the time of a refusal does not tell whether there is a user, whatever schemes and costs imported hashes have.
    fn neighbour(&self, name: Option<&UserName>) -> Option<&User> {
        let next = name.and_then(|name| self.users.range(name..).next());
        next.or_else(|| self.users.first_key_value()).map(|(_, user)| user)
    }

    /// Adds a user with a new account.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn add(&mut self, name: UserName, hash: Hash) -> Result<AccountId, Failure> {
        if self.users.contains_key(&name) {
            return Err(Failure::new(Exit::Failed, format!("user {} exists already", name.as_str())));
        }
        let account = self.new_account();
        self.users.insert(name, User { account, hash });
        Ok(account)
    }

    /// An account id that no user has or had.
    fn new_account(&self) -> AccountId {
        loop {
            let account = AccountId(rand::random());
            let is_used = self.users.values().any(|user| user.account == account);
            if account.0 != 0 && !is_used && !self.removed.iter().any(|(_, removed)| *removed == account) {
                return account;
            }
        }
    }

    /// Adds a user to an account that was kept aside.
    ///
    /// # Errors
    /// There is a user of that name, or no such account was kept.
    pub fn restore(&mut self, name: UserName, hash: Hash, account: AccountId) -> Result<(), Failure> {
        if self.users.contains_key(&name) {
            return Err(Failure::new(Exit::Failed, format!("user {} exists already", name.as_str())));
        }
        let place = self.removed.iter().position(|(_, removed)| *removed == account);
        let place = place.ok_or_else(|| Failure::new(Exit::NoUser, format!("no removed user had account {account}")))?;
        self.removed.remove(place);
        self.users.insert(name, User { account, hash });
        Ok(())
    }

    /// Removes a user; the mail is kept aside under its account id.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove(&mut self, name: &UserName) -> Result<AccountId, Failure> {
        let user = self.users.remove(name).ok_or_else(|| no_user(name))?;
        self.removed.push((name.clone(), user.account));
        Ok(user.account)
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn set_hash(&mut self, name: &UserName, hash: Hash) -> Result<(), Failure> {
        self.users.get_mut(name).ok_or_else(|| no_user(name))?.hash = hash;
        Ok(())
    }
}

pub(crate) fn no_user(name: &UserName) -> Failure {
    Failure::new(Exit::NoUser, format!("there is no user {}", name.as_str()))
}

/// Where the users of a data directory are.
pub fn path(directory: &Path) -> PathBuf {
    directory.join("users")
}

/// Reads the file; one that is not there is empty.
///
/// # Errors
/// It cannot be read or understood.
pub fn read(directory: &Path) -> Result<Table, Failure> {
    let path = path(directory);
    match fs::read_to_string(&path) {
        Ok(text) => Table::parse(&text).map_err(|why| Failure::new(Exit::Data, format!("{}: {why}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Table::default()),
        Err(error) => Err(failed("cannot read", &path, &error)),
    }
}

/// Changes the file as a whole: other editors wait meanwhile, readers see the old or the new one, and it is durable when this returns.
///
/// # Errors
/// What `change` says (nothing is written then), the disk, or that the directory is somebody else's.
pub fn edit<T>(directory: &Path, change: impl FnOnce(&mut Table) -> Result<T, Failure>) -> Result<T, Failure> {
    carillon_storage::refuse_foreign(directory)?;
    let lock_path = directory.join("users.lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
    let lock = lock.map_err(|error| failed("cannot open", &lock_path, &error))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| failed("cannot lock", &lock_path, &error.into()))?;
    let mut table = read(directory)?;
    let answer = change(&mut table)?;
    write_synced(&path(directory), table.write().as_bytes(), 0o600)?;
    Ok(answer)
}

/// Writes a file anew, syncs it, renames it to its place and syncs the directory.
///
/// # Errors
/// The disk.
pub fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(|error| failed("cannot write", path, &error))
}

/// The users while the server runs.
#[derive(Debug)]
pub struct Users {
    directory: PathBuf,
    table: RwLock<Arc<Table>>,
}

impl Users {
    /// The users of a data directory.
    ///
    /// # Errors
    /// As for [`read`].
    pub fn open(directory: &Path) -> Result<Self, Failure> {
        Ok(Self { directory: directory.to_owned(), table: RwLock::new(Arc::new(read(directory)?)) })
    }

    /// Reads the file again; after an error the old contents stay.
    ///
    /// # Errors
    /// As for [`read`].
    pub fn reload(&self) -> Result<usize, Failure> {
        let table = Arc::new(read(&self.directory)?);
        let count = table.users.len();
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(count)
    }

    /// The users as they are now.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Authenticator for Users {
    fn verify(&self, user: &str, password: &[u8]) -> Verdict {
        let table = self.table();
        let name = UserName::new(user).ok();
        if let Some(user) = name.as_ref().and_then(|name| table.users.get(name)) {
            return if user.hash.verify(password) { Verdict::Accepted(user.account) } else { Verdict::Refused };
        }
        match table.neighbour(name.as_ref()) {
            Some(neighbour) => drop(neighbour.hash.verify(password)),
            None => password::waste_work(password),
        }
        Verdict::Refused
    }

    fn find(&self, user: &str) -> Option<AccountId> {
        let name = UserName::new(user).ok()?;
        self.table().users.get(&name).map(|user| user.account)
    }
}

/// Whose an account is, or was; shown with `~removed` behind the name where the user was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's name.
    pub name: String,
    /// Whether the user was removed, and the mail is kept aside.
    pub is_removed: bool,
}

/// How names of removed users end where people read them.
const REMOVED: &str = "~removed";

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        formatter.write_str(if self.is_removed { REMOVED } else { "" })
    }
}

/// What maps an account back to its user, for people who read.
pub trait Names: Send + Sync {
    /// The owners of accounts; removed users' too.
    fn names(&self) -> BTreeMap<AccountId, Owner>;
}

impl Names for Users {
    fn names(&self) -> BTreeMap<AccountId, Owner> {
        let table = self.table();
        let owner = |name: &UserName, is_removed| Owner { name: name.as_str().to_owned(), is_removed };
        let removed = table.removed.iter().map(|(name, account)| (*account, owner(name, true)));
        removed.chain(table.users.iter().map(|(name, user)| (user.account, owner(name, false)))).collect()
    }
}

/// The accounts that a name stands for, however it is typed: the user's first, then those of removed users who were called so.
pub fn accounts(owners: &BTreeMap<AccountId, Owner>, name: &str) -> Vec<AccountId> {
    let canonical = |text: &str| UserName::new(text).map(|name| name.0).unwrap_or_default();
    let wanted = [(canonical(name), false), (canonical(name.strip_suffix(REMOVED).unwrap_or(name)), true)];
    let of = |(name, is_removed): &(String, bool)| {
        let is_wanted = |owner: &Owner| owner.name == *name && owner.is_removed == *is_removed;
        owners.iter().filter(|(_, owner)| is_wanted(owner)).map(|(account, _)| *account).collect::<Vec<_>>()
    };
    wanted.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    fn plain(text: &str) -> Hash {
        Hash::parse(&format!("{{PLAIN}}{text}")).unwrap()
    }

    #[test]
    fn the_life_of_a_user() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let first = edit(directory, |table| table.add(name("Alice"), Hash::new(b"secret")?)).unwrap();
        assert_eq!(edit(directory, |table| table.add(name("alice"), plain("x"))).unwrap_err().exit, Exit::Failed);
        let users = Users::open(directory).unwrap();
        assert_eq!(users.verify("ALICE", b"secret"), Verdict::Accepted(first));
        assert_eq!((users.verify("alice", b"Secret"), users.verify("bob", b"secret")), (Verdict::Refused, Verdict::Refused));
        assert_eq!((users.find("alice"), users.find("bob")), (Some(first), None));
        assert_eq!(edit(directory, |table| table.remove(&name("alice"))).unwrap(), first);
        assert_eq!(edit(directory, |table| table.remove(&name("alice"))).unwrap_err().exit, Exit::NoUser);
        let second = edit(directory, |table| table.add(name("alice"), plain("new"))).unwrap();
        assert_ne!(first, second);
        edit(directory, |table| table.restore(name("old.alice"), plain("old"), first)).unwrap();
        assert_eq!(users.verify("alice", b"secret"), Verdict::Accepted(first));
        assert_eq!(users.reload().unwrap(), 2);
        assert_eq!(users.verify("alice", b"new"), Verdict::Accepted(second));
        assert_eq!(users.verify("old.alice", b"old"), Verdict::Accepted(first));
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path(directory)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_unknown_name_costs_what_some_user_costs() {
        let mut table = Table::default();
        assert!(table.neighbour(Some(&name("x"))).is_none());
        for user in ["bob", "dora"] {
            table.add(name(user), plain(user)).unwrap();
        }
        let whose = |name: Option<&UserName>| table.neighbour(name).unwrap().hash.expose();
        for (unknown, expected) in [("alice", "bob"), ("carl", "dora"), ("eve", "bob")] {
            assert_eq!(whose(Some(&name(unknown))), format!("{{PLAIN}}{expected}"));
        }
        assert_eq!(whose(None), "{PLAIN}bob");
        let directory = tempfile::tempdir().unwrap();
        fs::write(path(directory.path()), table.write()).unwrap();
        let users = Users::open(directory.path()).unwrap();
        assert_eq!(users.verify("carl", b"dora"), Verdict::Refused);
        assert_eq!(users.verify("no name", b"bob"), Verdict::Refused);
    }

    #[test]
    fn a_name_stands_for_its_user_and_for_those_who_were_removed() {
        let directory = tempfile::tempdir().unwrap();
        let edited = edit(directory.path(), |table| {
            let first = table.add(name("carol"), plain("x"))?;
            table.remove(&name("carol"))?;
            let second = table.add(name("Carol"), plain("x"))?;
            table.remove(&name("carol"))?;
            Ok((first, second, table.add(name("carol"), plain("x"))?, table.add(name("dora"), plain("x"))?))
        });
        let (first, second, carol, dora) = edited.unwrap();
        let owners = Users::open(directory.path()).unwrap().names();
        let of = |text: &str| accounts(&owners, text);
        let mut removed = vec![first, second];
        removed.sort();
        assert_eq!(of("carol~removed"), removed);
        assert_eq!(of("CAROL"), [&[carol], removed.as_slice()].concat());
        assert_eq!((of("dora"), of("nobody"), of("a/b")), (vec![dora], vec![], vec![]));
        assert_eq!((owners[&first].to_string(), owners[&carol].to_string()), ("carol~removed".to_owned(), "carol".to_owned()));
    }

    #[test]
    fn a_refused_change_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let refused: Result<(), Failure> = edit(directory.path(), |table| {
            table.add(name("a"), plain("x"))?;
            Err(Failure::new(Exit::Failed, "no"))
        });
        assert!(refused.is_err());
        assert_eq!(read(directory.path()).unwrap(), Table::default());
    }

    #[test]
    fn damaged_files_are_refused_and_keep_the_old_table() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        edit(directory, |table| table.add(name("a"), plain("x"))).unwrap();
        let users = Users::open(directory).unwrap();
        for bad in ["", "else\n", &format!("{HEADER}\nuser\ta\n"), &format!("{HEADER}\nuser\t\u{1b}\t1\t{{PLAIN}}x\n")] {
            fs::write(path(directory), bad).unwrap();
            assert_eq!(read(directory).unwrap_err().exit, Exit::Data, "{bad:?}");
            assert!(users.reload().is_err());
        }
        assert!(users.find("a").is_some());
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", "a b", "a:b", "../etc", "a/b", "a\u{0}b", "a\nb", "\u{202e}x", "a\u{85}", "*", &"x".repeat(256)] {
            assert!(UserName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["alice", "alice@example.org", "a.b-c_d+e", "jürgen", "%n%n%s", "用户"] {
            assert!(UserName::new(good).is_ok(), "{good:?}");
        }
        assert_eq!(name("Ju\u{308}RGEN"), name("jürgen"));
    }

    proptest! {
        #[test]
        fn any_name_survives_the_file(text in "\\PC{1,40}", password in "\\PC{1,40}") {
            let mut table = Table::default();
            if let Ok(name) = UserName::new(&text) && let Ok(hash) = Hash::parse(&format!("{{PLAIN}}{password}")) {
                table.add(name, hash).unwrap();
            }
            prop_assert_eq!(Table::parse(&table.write()).unwrap(), table);
        }

        #[test]
        fn nothing_panics(text in "(user|removed)?\\PC{0,40}\n?\t?.{0,20}") {
            let _ = Table::parse(&format!("{HEADER}\n{text}"));
        }
    }
}
