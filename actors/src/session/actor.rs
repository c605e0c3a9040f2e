//! The actor of a connection: hears its doorbells and its stop, while the future that it owns serves the connection.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient};
use carillon_storage::Author;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::Instrument;

use super::admission::Admission;
use super::bells::Bells;
use super::connection::{Connection, FAREWELL, Wire};
use super::reply::Farewell;
use super::settings::Doors;
use super::state::{Counts, Session};
use crate::directory::actor::DirectoryHandle;
use crate::directory::requests::{SessionStop, Stop};
use crate::doorbell::{Doorbell, Rang};
use crate::id::SessionId;
use crate::turn::Order;

/// How long a client that has had its time already has to take the last word.
const OVERTIME: Duration = Duration::from_millis(250);

/// The half of a session that other actors can reach.
pub struct SessionActor {
    bells: Rc<Bells>,
}

impl Actor for SessionActor {
    type Context = Context<Self>;
}

impl Handler<Rang> for SessionActor {
    type Result = ();

    fn handle(&mut self, rang: Rang, _context: &mut Self::Context) {
        self.bells.rang(rang.watch);
    }
}

/// The directory asks a session to say BYE and end.
struct Halt(Stop);

impl Message for Halt {
    type Result = ();
}

impl Handler<Halt> for SessionActor {
    type Result = ();

    fn handle(&mut self, Halt(why): Halt, _context: &mut Self::Context) {
        self.bells.stop(match why {
            Stop::Kick => Farewell::Kicked,
            Stop::Shutdown => Farewell::Shutdown,
        });
    }
}

/// How a connection begins.
pub enum Transport {
    /// In plain text; STARTTLS may follow.
    Plain(TcpStream),
    /// With a TLS handshake.
    Tls(TcpStream),
    /// A pipe of the simulation, in plain text.
    Pipe(tokio::io::DuplexStream),
}

/// Starts the session of a connection on the calling thread's arbiter.
pub fn start(doors: Arc<Doors>, transport: Transport, peer: SocketAddr, admission: Admission) -> Addr<SessionActor> {
    SessionActor::create(move |context| {
        let bell: Recipient<Rang> = context.address().recipient();
        let halt: Recipient<Halt> = context.address().recipient();
        let stop = SessionStop::new(move |why| halt.do_send(Halt(why)));
        let bells = Bells::new(Box::new(move |watch| Doorbell::new(bell.clone(), watch)));
        let serving = serve(doors, transport, peer, bells.clone(), stop, admission);
        context.spawn(serving.into_actor(&SessionActor { bells: bells.clone() }).map(|(), _, context| context.stop()));
        SessionActor { bells }
    })
}

async fn serve(
    doors: Arc<Doors>,
    transport: Transport,
    peer: SocketAddr,
    bells: Rc<Bells>,
    stop: SessionStop,
    _admission: Admission,
) {
    let id = doors.core.ids.session();
    let is_tls_first = matches!(transport, Transport::Tls(_));
    let span = tracing::info_span!("session", id = %id, peer = %peer, tls = is_tls_first, account = tracing::field::Empty);
    let wire: Box<dyn Wire> = match transport {
        Transport::Plain(stream) | Transport::Tls(stream) => {
            // Without it a push waits for the acknowledgement of the one before. A socket that refuses it is slower, not wrong.
            let _ = stream.set_nodelay(true);
            Box::new(stream)
        }
        Transport::Pipe(pipe) => Box::new(pipe),
    };
    let settings = &doors.settings;
    let connection = Connection::new(wire, settings.name_format(), doors.core.limits.write_timeout);
    let mut session = Session {
        id,
        peer,
        tls: None,
        connection,
        bells,
        login: None,
        selected: None,
        author: Author { session: id.0, ..Author::default() },
        order: Order::First,
        begun_behind: 0,
        bad_commands: 0,
        is_idling: false,
        failed_logins: 0,
        client: None,
        counts: Counts::default(),
        begun: Instant::now(),
        last_active: Instant::now(),
        since_seconds: doors.core.clock.seconds(),
        span: span.clone(),
        doors,
    };
    let limits = session.frame_limits();
    session.connection.set_limits(limits);
    let directory = session.doors.core.directory.clone();
    directory.session_opened(session.info(), stop);
    let _presence = Presence(directory, id);
    session.live(is_tls_first).instrument(span).await;
}

/// Says that a session is gone, also where it panicked or its thread ends.
struct Presence(DirectoryHandle, SessionId);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.session_closed(self.1);
    }
}

impl Session {
    async fn live(mut self, is_tls_first: bool) {
        let (bells, login_by) = (self.bells.clone(), self.login_by());
        let (farewell, patience) = tokio::select! {
            biased;
            farewell = self.serve(is_tls_first) => (farewell, FAREWELL),
            farewell = bells.overtime(login_by) => (farewell, OVERTIME),
        };
        self.part(farewell, patience).await;
        let Counts { commands, fetched, appended, expunged, .. } = self.counts;
        tracing::info!(
            reason = farewell.text(),
            in_bytes = self.connection.bytes_in,
            out_bytes = self.connection.bytes_out,
            commands,
            fetched,
            appended,
            expunged,
            "session ended"
        );
    }
}
