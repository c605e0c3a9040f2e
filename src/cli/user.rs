//! `carillon user`: changes the users' file, and tells a running server.

use std::path::{Path, PathBuf};

use carillon_actors::id::AccountId;
use clap::Subcommand;
use serde_json::json;

use super::Place;
use crate::admin::{Request, client};
use crate::exit::{Exit, Failure, failed};
use crate::owner;
use crate::terminal::{line, new_password, plain};
use crate::users::password::Hash;
use crate::users::{self, Table, UserName};

/// `carillon user ...`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user; the password is asked for
    Add {
        /// The name, with which the user logs in
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// Give back the account of a removed user, as `carillon user list` shows it
        #[arg(long, value_name = "ID")]
        account: Option<String>,
    },
    /// Remove a user; the mail is kept aside, and a new user of that name does not get it
    Remove {
        /// The name
        name: String,
    },
    /// List users, and the accounts of removed ones
    List {
        /// One JSON object for each user
        #[arg(long)]
        json: bool,
    },
    /// Change a user's password, which is asked for
    Passwd {
        /// The name
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Import users and their hashes from a passwd-file (user:{SCHEME}hash:...); users that exist get its password
    Import {
        /// The file
        file: PathBuf,
    },
}

pub(super) fn run(place: &Place, command: UserCommand) -> Result<(), Failure> {
    let data = place.data()?;
    if let UserCommand::List { json } = command {
        return list(&data, json);
    }
    make_directory(&data)?;
    let done = change(&data, command)?;
    done.iter().try_for_each(|text| line(&plain(text)).map(drop))?;
    // A server that runs knows it at once; one that does not reads it when it starts.
    let told = client::ask_server(&data, &Request::ReloadUsers, &mut |_| Ok(true));
    told.map_err(|failure| Failure { text: format!("the server was not told of it: {}", failure.text), ..failure })?;
    let refused = done.iter().any(|text| text.contains(": left out: "));
    if refused { Err(Failure::new(Exit::Data, "some lines were left out")) } else { Ok(()) }
}

fn make_directory(data: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|error| failed("cannot make", data, &error))
}

/// Changes the file, as whoever owns the directory.
fn edit<T>(data: &Path, change: impl FnOnce(&mut Table) -> Result<T, Failure>) -> Result<T, Failure> {
    owner::work_as_owner(data)?;
    users::edit(data, change)
}

fn change(data: &Path, command: UserCommand) -> Result<Vec<String>, Failure> {
    Ok(match command {
        UserCommand::Add { name, password_stdin, account } => {
            let name = UserName::new(&name)?;
            if users::read(data)?.users.contains_key(&name) {
                return Err(Failure::new(Exit::Failed, format!("user {} exists already", name.as_str())));
            }
            let account = account.map(|text| u64::from_str_radix(&text, 16).map(AccountId)).transpose();
            let account = account.map_err(|_| Failure::new(Exit::Usage, "an account's id has hexadecimal digits"))?;
            let hash = Hash::new(&new_password(password_stdin)?)?;
            let text = format!("user {} added", name.as_str());
            edit(data, |table| match account {
                Some(account) => table.restore(name, hash, account),
                None => table.add(name, hash).map(drop),
            })?;
            vec![text]
        }
        UserCommand::Remove { name } => {
            let name = UserName::new(&name)?;
            let account = edit(data, |table| table.remove(&name))?;
            let give_back = format!("carillon user add NAME --account {account}");
            vec![format!("user {} removed; the mail is kept: `{give_back}` gives it to a new user", name.as_str())]
        }
        UserCommand::Passwd { name, password_stdin } => {
            let name = UserName::new(&name)?;
            edit(data, |table| table.users.get(&name).map(drop).ok_or_else(|| users::no_user(&name)))?;
            let hash = Hash::new(&new_password(password_stdin)?)?;
            edit(data, |table| table.set_hash(&name, hash))?;
            vec![format!("password of {} changed", name.as_str())]
        }
        UserCommand::Import { file } => {
            let text = std::fs::read_to_string(&file);
            let text = text.map_err(|error| Failure::new(Exit::Data, format!("cannot read {}: {error}", file.display())))?;
            let imported = edit(data, |table| Ok(users::import(table, &text)))?;
            let refused = imported.refused.iter().map(|(number, why)| format!("{}:{number}: left out: {why}", file.display()));
            let sum = format!(
                "{} users added, {} updated, {} lines left out",
                imported.added,
                imported.updated,
                imported.refused.len()
            );
            refused.chain([sum]).collect()
        }
        UserCommand::List { .. } => Vec::new(),
    })
}

fn list(data: &Path, is_json: bool) -> Result<(), Failure> {
    carillon_storage::refuse_foreign(data)?;
    let table = users::read(data)?;
    for (name, user) in &table.users {
        let (name, account, scheme) = (name.as_str(), user.account.to_string(), user.hash.scheme());
        let text = if is_json {
            json!({ "user": name, "account_id": account, "scheme": scheme, "removed": false }).to_string()
        } else {
            format!("{account}  {scheme:<12}  {name}")
        };
        line(&text)?;
    }
    for (name, account) in &table.removed {
        let (name, account) = (name.as_str(), account.to_string());
        let text = if is_json {
            json!({ "user": name, "account_id": account, "removed": true }).to_string()
        } else {
            format!("{account}  {:<12}  {name}", "(removed)")
        };
        line(&text)?;
    }
    Ok(())
}
