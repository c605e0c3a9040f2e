//! APPEND (RFC 9051 §6.3.12, RFC 3502, RFC 4315 §3, RFC 3516 §4.4).

use carillon_protocol::command::AppendMessage;
use carillon_protocol::date::InternalDate;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::response::ResponseCode;

use super::super::arriving::Arrived;
use super::super::reply::{self, Ending, Reply};
use super::super::state::Session;
use super::copy::missing_target;
use crate::arrival::{self, Arrival};
use crate::mailbox::event::Origin;
use crate::mailbox::requests::Change;
use crate::refusal::{Fault, Refusal};

/// APPEND of one message or several: all of them or none, in one commit.
pub async fn append(session: &mut Session, name: &MailboxName, messages: Vec<AppendMessage>, mut arrived: Vec<Arrived>) -> Reply {
    let target = session.find_target(name).await?;
    if messages.len() != arrived.len() {
        return Err(Fault::Bug("a message of APPEND is not where it was announced").into());
    }
    let now = session.doors.core.clock.seconds();
    let octets = messages.iter().map(|message| message.literal.length).sum();
    let mut arrivals = Vec::with_capacity(messages.len());
    for (message, arrived) in messages.into_iter().zip(arrived.drain(..)) {
        if message.literal.length == 0 {
            return Err(Refusal::EmptyMessage.into());
        }
        if arrived.has_nul && !message.literal.binary {
            return Err(Ending::Bad("Expected no NUL in a message; a literal8 (~{n}) may hold it"));
        }
        let internal_date =
            message.date.unwrap_or(InternalDate { unix_seconds: i64::try_from(now).unwrap_or(i64::MAX), offset_minutes: 0 });
        arrivals.push(Arrival {
            content: arrived.content,
            prefix: None,
            has_nul: arrived.has_nul,
            internal_date,
            save_date: now,
            flags: message.flags,
            origin: Origin::Append,
        });
    }
    let source = session.doors.core.source.clone();
    let prepared = session.doors.core.placement.run_for(octets, move || arrival::prepare_all(&source, arrivals)).await??;
    let count = prepared.len() as u64;
    let handle = session.open(target).await.map_err(missing_target)?;
    let changed = session.change(handle, Change::Append(prepared)).await.map_err(missing_target)?;
    session.counts.appended += count;
    Ok(reply::ok_with(ResponseCode::AppendUid(changed.uid_validity, changed.appended), "Appended"))
}
