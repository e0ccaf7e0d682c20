//! The threads of a node: one core, and reactors, each a runtime of its own (DESIGN §9).

use actors::{
    administration::Administration,
    root::{Core, Ports, Reactor},
};
use egress::{Egress, Setup};
use ingress::{Admin, App, Doors, Hasher, Webhooks, serve};
use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};
use tokio::sync::{Semaphore, oneshot, watch};

/// Why a thread did not come up.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Makes the ports on the core thread, for the journal's tasks stay there.
pub type MakePorts = Box<dyn FnOnce() -> std::pin::Pin<Box<dyn Future<Output = Result<Ports, Failure>>>> + Send>;

/// The core thread.
pub struct CoreThread {
    pub core: Core,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl CoreThread {
    /// Starts it, with a session for so many lanes.
    ///
    /// # Errors
    /// The journal could not be opened, or does not take the node.
    pub fn start(make_ports: MakePorts, lanes: u16) -> Result<CoreThread, Failure> {
        let (up, is_up) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("core".into()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(up.send(Err(error.into()))),
            };
            runtime.block_on(async move {
                let started = async { Ok::<Core, Failure>(Core::start(make_ports().await?, lanes).await?) }.await;
                let journal = started.as_ref().ok().map(|core| core.journal.clone());
                let _ = up.send(started); // the main thread waits for it
                let _ = stopped.await; // dropped or told: both mean stop
                if let Some(journal) = journal {
                    journal.stop().await;
                }
            });
        })?;
        let core = is_up.recv().map_err(|_| "the core thread ended while it started")??;
        Ok(CoreThread { core, stop, thread })
    }

    /// Writes out what is not on disk yet, and ends.
    pub fn stop(self) {
        let _ = self.stop.send(()); // it has ended
        let _ = self.thread.join(); // a panic there was told by the hook
    }
}

/// What every reactor is made with.
#[derive(Clone)]
pub struct Plan {
    pub core: Core,
    pub setup: Arc<Setup>,
    pub hasher: Hasher,
    pub places: Arc<Semaphore>,
    pub administration: Arc<Administration>,
    pub admin: Arc<Admin>,
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub projections: projections::Projections,
    pub queries: Arc<Semaphore>,
    pub backups: Arc<Semaphore>,
    pub webhooks: Arc<Webhooks>,
    pub closing: watch::Receiver<bool>,
}

/// A listener's address and which routes it answers.
#[derive(Clone, Copy)]
pub struct Door {
    pub address: SocketAddr,
    pub doors: Doors,
}

/// Starts a reactor with its own listeners on the same addresses; ends when `closing` turns true and its calls are over.
///
/// # Errors
/// The addresses cannot be listened on.
pub fn reactor(plan: Plan, lane: u16, doors: Vec<Door>) -> Result<JoinHandle<()>, Failure> {
    let (up, is_up) = mpsc::channel();
    let thread = std::thread::Builder::new().name(format!("reactor-{lane}")).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(up.send(Err(error.into()))),
        };
        runtime.block_on(async move {
            let (serving, started) = match run(plan, lane, doors).await {
                Ok(serving) => (serving, Ok(())),
                Err(failure) => (Vec::new(), Err(failure)),
            };
            let _ = up.send(started); // the main thread waits for it
            for listener in serving {
                let _ = listener.await; // a panic there was told by the hook
            }
        });
    })?;
    is_up.recv().map_err(|_| "a reactor ended while it started")??;
    Ok(thread)
}

/// Starts what a reactor does; each listener's task ends with its last connection.
async fn run(plan: Plan, lane: u16, doors: Vec<Door>) -> Result<Vec<tokio::task::JoinHandle<()>>, Failure> {
    let Plan { core, setup, hasher, places, administration, admin, metrics, projections, queries, backups, webhooks, closing } = plan;
    let wire = Arc::new(Egress::new(setup));
    let reactor = Reactor::start(core, lane, wire).await?;
    let app = App { reactor, hasher, places, administration, admin, metrics, projections, queries, backups, webhooks };
    let listeners: Vec<_> = doors.iter().map(|door| listen(door.address)).collect::<Result<_, _>>()?;
    let serving =
        listeners.into_iter().zip(doors).map(|(listener, door)| tokio::spawn(serve(listener, app.clone(), door.doors, closing.clone())));
    Ok(serving.collect())
}

/// Whether nobody listens there; the kernel would let a second process of the same user in beside us.
///
/// # Errors
/// The address is taken, or cannot be had.
pub fn probe(address: SocketAddr) -> std::io::Result<SocketAddr> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)?;
    socket.local_addr()?.as_socket().ok_or_else(|| std::io::Error::other("not an internet address"))
}

fn listen(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    tokio::net::TcpListener::from_std(socket.into())
}
