//! The supervision tree: what runs on the core thread, what runs on each reactor, and the handles by which they know each other.

use crate::{
    directory::Directory,
    free::Board,
    gate::{self, CounterFollower, Gate},
    keeper,
    metrics::Handles,
    policy::{Follower, PolicyBoard},
    ports::{Bodies, Entropy, Telemetry, Vault, Wire},
    report::Silent,
    router::{self, Router},
    scribe::{self, Scribe},
    upstream::{self, Upstream},
};
use arc_swap::ArcSwap;
use cluster_config::ProviderView;
use events::{
    Boot, NodeId, NoteId, ProviderId, State, StreamId, TenantId,
    envelope::Principal,
    node,
    transaction::{Group, Transaction},
};
use journal::{Clock, Journal};
use parking_lot::Mutex;
use ractor::{Actor, ActorRef};
use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};
use tokio::sync::{mpsc, oneshot, watch};

/// Which session this node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub node: NodeId,
    pub boot: Boot,
}

/// How far the node has come on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Running,
    /// Nothing new is taken; what runs may end.
    Draining,
    /// What still runs is cut, and recorded.
    Cut,
}

/// What the core thread is made with.
pub struct Ports {
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub vault: Arc<dyn Vault>,
    /// Ends the process: a store failed.
    pub fail_stop: Arc<dyn Fn(String) + Send + Sync>,
}

type Job = Box<dyn FnOnce(Arc<Directory>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The core thread, from anywhere.
#[derive(Clone)]
pub struct Core {
    pub gate: ActorRef<gate::Message>,
    pub policy: PolicyBoard,
    pub free: Arc<Board>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub journal: Arc<dyn Journal>,
    /// The name of the cluster.
    pub cluster: Arc<str>,
    pub telemetry: Arc<dyn Telemetry>,
    pub bodies: Arc<dyn Bodies>,
    /// Providers that are left alone, for they failed.
    pub tripped: Arc<upstream::Tripped>,
    session: Arc<ArcSwap<Session>>,
    jobs: mpsc::UnboundedSender<Job>,
    scribes: Arc<Mutex<Vec<ActorRef<scribe::Message>>>>,
    fenced: mpsc::UnboundedSender<Boot>,
    stage: Arc<watch::Sender<Stage>>,
}

/// Why the core did not start.
#[derive(Debug)]
pub struct StartFault(pub String);

impl std::fmt::Display for StartFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartFault {}

impl Core {
    /// Starts the Gate, the directory and the followers, joins the cluster if this node is new, and opens a session.
    /// Runs on the core thread's runtime, and what it starts stays there.
    ///
    /// # Errors
    /// The journal does not take the node.
    pub async fn start(ports: Ports, lanes: u16) -> Result<Core, StartFault> {
        let Ports { journal, clock, entropy, vault, fail_stop } = ports;
        let (due, mut dues) = mpsc::unbounded_channel();
        let free = Arc::new(Board::default());
        let follower = journal::look(&*journal, |state| Follower::new(state, vault, free.clone(), due));
        let policy = follower.board();
        let counters = journal::look(&*journal, |state| gate::counters(state, &policy));
        journal.observe(Box::new(follower));
        journal.observe(Box::new(CounterFollower::new(counters.clone())));
        let arguments = gate::Arguments { journal: journal.clone(), clock: clock.clone(), counters, fail_stop };
        let (gate, _) = Actor::spawn(None, Gate, arguments).await.map_err(|error| StartFault(error.to_string()))?;
        let directory = Arc::new(Directory::new(gate.clone(), clock.clone()));
        let cluster = found(&gate, &*entropy).await?;
        let session = open_session(&gate, &directory, &*entropy, lanes).await?;
        let waker = directory.clone();
        tokio::spawn(async move {
            while let Some(stream) = dues.recv().await {
                waker.wake(stream).await;
            }
        });
        let (jobs, mut jobs_in) = mpsc::unbounded_channel::<Job>();
        let worker = directory.clone();
        tokio::spawn(async move {
            while let Some(job) = jobs_in.recv().await {
                tokio::spawn(job(worker.clone()));
            }
        });
        let (fenced, fenced_in) = mpsc::unbounded_channel();
        let core = Core {
            gate,
            policy,
            free,
            clock,
            entropy,
            journal,
            cluster,
            telemetry: Arc::new(Silent),
            bodies: Arc::new(Silent),
            tripped: Arc::default(),
            session: Arc::new(ArcSwap::from_pointee(session)),
            jobs,
            scribes: Arc::default(),
            fenced,
            stage: Arc::new(watch::channel(Stage::Running).0),
        };
        tokio::spawn(core.clone().reopen_sessions(directory.clone(), fenced_in, lanes));
        directory.wake(StreamId::Node(session.node)).await;
        Ok(core)
    }

    /// For the calls of reactors that are made with it.
    pub fn with_telemetry(self, telemetry: Arc<dyn Telemetry>) -> Core {
        Core { telemetry, ..self }
    }

    /// For the calls of reactors that are made with it.
    pub fn with_bodies(self, bodies: Arc<dyn Bodies>) -> Core {
        Core { bodies, ..self }
    }

    pub fn session(&self) -> Session {
        **self.session.load()
    }

    /// Does something with the keepers, on the core thread. None: the node is stopping.
    pub async fn run<R, F>(&self, job: impl FnOnce(Arc<Directory>) -> F + Send + 'static) -> Option<R>
    where
        R: Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |directory| {
            let work = job(directory);
            Box::pin(async move { drop(reply.send(work.await)) })
        });
        self.jobs.send(job).ok()?;
        answer.await.ok()
    }

    /// Looks at the state, on the core thread. None: the node is stopping.
    pub async fn look<R: Send + 'static>(&self, look: impl FnOnce(&State) -> R + Send + 'static) -> Option<R> {
        keeper::look(&self.gate, look).await
    }

    /// Goes a step further on the way out; never back.
    pub fn enter(&self, stage: Stage) {
        self.stage.send_if_modified(|now| std::mem::replace(now, stage.max(*now)) < stage);
    }

    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Waits until what runs is cut.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stage = self.stage.subscribe();
        async move {
            if stage.wait_for(|stage| *stage == Stage::Cut).await.is_err() {
                std::future::pending().await // the core has gone, and the process with it
            }
        }
    }

    /// A Scribe found its session ended while the process lives: one new session for all Scribes.
    async fn reopen_sessions(self, directory: Arc<Directory>, mut fenced: mpsc::UnboundedReceiver<Boot>, lanes: u16) {
        while let Some(boot) = fenced.recv().await {
            if boot != self.session().boot {
                continue;
            }
            match open_session(&self.gate, &directory, &*self.entropy, lanes).await {
                Ok(session) => {
                    self.session.store(Arc::new(session));
                    for scribe in self.scribes.lock().iter() {
                        let _ = scribe.cast(scribe::Message::Session { node: session.node, boot: session.boot }); // it ended with its reactor
                    }
                }
                Err(fault) => tracing::error!(%fault, "no new session could be opened"),
            }
        }
    }
}

/// The cluster's name: chosen once, at its founding.
async fn found(gate: &ActorRef<gate::Message>, entropy: &dyn Entropy) -> Result<Arc<str>, StartFault> {
    let stopped = || StartFault("the journal has stopped".into());
    let known = |state: &State| state.desk.notes.get(&NoteId::Cluster).map(|name| String::from_utf8_lossy(name).into_owned());
    if let Some(name) = keeper::look(gate, known).await.ok_or_else(stopped)? {
        return Ok(name.into());
    }
    let name = format!("{:016x}", entropy.draw() as u64);
    let transaction = Transaction { notes: vec![(NoteId::Cluster, Some(name.clone().into_bytes()))], ..Transaction::default() };
    let (reply, answer) = oneshot::channel();
    let group = Group { sequence: None, transactions: vec![Some(transaction)] };
    gate.cast(gate::Message::Propose { group, reply }).map_err(|_| stopped())?;
    answer.await.map_err(|_| stopped())?.map_err(|fault| StartFault(fault.to_string()))?;
    Ok(name.into())
}

/// Joins if this node is new, and opens a session: the one before has ended with that.
async fn open_session(
    gate: &ActorRef<gate::Message>,
    directory: &Directory,
    entropy: &dyn Entropy,
    lanes: u16,
) -> Result<Session, StartFault> {
    let stopped = || StartFault("the journal has stopped".into());
    let known = |state: &State| (state.books.nodes.iter().find(|(_, node)| !node.removed).map(|(id, _)| *id), state.books.n);
    let (node, position) = keeper::look(gate, known).await.ok_or_else(stopped)?;
    let fault = |fault: keeper::Fault| StartFault(fault.to_string());
    let node = match node {
        Some(node) => node,
        None => {
            let node = NodeId(position);
            directory.order::<node::Node>(node, node::Command::Join, Vec::new(), Principal::System).await.map_err(fault)?;
            node
        }
    };
    let boot = Boot(entropy.draw() as u64);
    directory.order::<node::Node>(node, node::Command::Start { boot, lanes }, Vec::new(), Principal::System).await.map_err(fault)?;
    Ok(Session { node, boot })
}

/// One reactor: the actors and handles that its calls use.
pub struct Reactor {
    pub core: Core,
    pub wire: Arc<dyn Wire>,
    pub handles: Handles,
    pub scribe: ActorRef<scribe::Message>,
    routers: Mutex<HashMap<TenantId, ActorRef<router::Message>>>,
    upstreams: Mutex<HashMap<ProviderId, ActorRef<upstream::Message>>>,
}

impl Reactor {
    /// Starts the reactor's Scribe. Runs on the reactor's runtime.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn start(core: Core, lane: u16, wire: Arc<dyn Wire>) -> Result<Arc<Reactor>, StartFault> {
        let Session { node, boot } = core.session();
        let arguments = scribe::Arguments { gate: core.gate.clone(), node, boot, lane, fenced: core.fenced.clone() };
        let (scribe, _) = Actor::spawn(None, Scribe, arguments).await.map_err(|error| StartFault(error.to_string()))?;
        core.scribes.lock().push(scribe.clone());
        Ok(Arc::new(Reactor { core, wire, handles: Handles::default(), scribe, routers: Mutex::default(), upstreams: Mutex::default() }))
    }

    /// The tenant's Router here, spawned when it is first asked.
    pub async fn router(&self, tenant: TenantId) -> Option<ActorRef<router::Message>> {
        let known = self.routers.lock().get(&tenant).cloned();
        if let Some(router) = known.filter(|router| router.get_status() < ractor::ActorStatus::Stopping) {
            return Some(router);
        }
        let (router, _) = Actor::spawn(None, Router, self.core.free.clone()).await.ok()?;
        self.routers.lock().insert(tenant, router.clone());
        Some(router)
    }

    /// The provider's Upstream here, spawned when it is first asked.
    pub async fn upstream(&self, provider: &ProviderView) -> Option<ActorRef<upstream::Message>> {
        let known = self.upstreams.lock().get(&provider.id).cloned();
        if let Some(upstream) = known.filter(|upstream| upstream.get_status() < ractor::ActorStatus::Stopping) {
            return Some(upstream);
        }
        let open = self.handles.provider(provider).breaker_open.clone();
        let arguments = upstream::Arguments { provider: provider.id, open, tripped: self.core.tripped.clone() };
        let (upstream, _) = Actor::spawn(None, Upstream, arguments).await.ok()?;
        self.upstreams.lock().insert(provider.id, upstream.clone());
        Some(upstream)
    }
}
