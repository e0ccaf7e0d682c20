//! The system calls of both ends: the only `unsafe` of the bench.

use std::io;
use std::os::fd::RawFd;

/// Ready to be read.
pub const READ: u32 = libc::EPOLLIN as u32;
/// Ready to be written.
pub const WRITE: u32 = libc::EPOLLOUT as u32;
/// Events taken from the kernel at once.
const EVENTS: usize = 512;

/// A set of watched sockets.
pub struct Epoll {
    fd: RawFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Epoll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    /// Watches a socket; `token` comes back with its events.
    pub fn add(&self, fd: RawFd, token: u64, interest: u32) {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest);
    }

    /// Changes what a socket is watched for.
    pub fn modify(&self, fd: RawFd, token: u64, interest: u32) {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest);
    }

    fn control(&self, operation: i32, fd: RawFd, token: u64, interest: u32) {
        let mut event = libc::epoll_event { events: interest, u64: token };
        // SAFETY: `event` outlives the call. A closed socket is an error that the next read of it shows.
        unsafe { libc::epoll_ctl(self.fd, operation, fd, &mut event) };
    }

    /// Waits with nanosecond precision (`None`: for ever) and puts what is ready into `ready` as (token, events).
    pub fn wait(&mut self, ns: Option<u64>, ready: &mut Vec<(u64, u32)>) {
        let time = ns.map(|n| libc::timespec { tv_sec: (n / 1_000_000_000) as i64, tv_nsec: (n % 1_000_000_000) as i64 });
        let time = time.as_ref().map_or(std::ptr::null(), |t| t as *const libc::timespec);
        let (events, room) = (self.events.as_mut_ptr(), self.events.len() as i32);
        // SAFETY: the kernel writes at most `room` events into a buffer of that size; `time` is null or lives until here.
        let count = unsafe { libc::syscall(libc::SYS_epoll_pwait2, self.fd, events, room, time, std::ptr::null::<u8>(), 8usize) };
        ready.clear();
        ready.extend(self.events.iter().take(count.max(0) as usize).map(|event| (event.u64, event.events)));
    }
}

/// Makes timers exact: the default slack of 50 µs would show up as latency.
pub fn tight_timers() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1u64) };
}

/// Sends small pieces at once.
pub fn set_nodelay(fd: RawFd) {
    let one: i32 = 1;
    // SAFETY: the option's value is an i32 that outlives the call.
    unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw const one).cast(), 4) };
}

/// Closes a socket.
pub fn close(fd: RawFd) {
    // SAFETY: no pointers; each caller forgets the number.
    unsafe { libc::close(fd) };
}

/// Appends what the socket holds now, at most `max` bytes. `Ok(true)`: still open. `Ok(false)`: the peer closed it.
pub fn read_into(fd: RawFd, buffer: &mut Vec<u8>, max: usize) -> io::Result<bool> {
    buffer.reserve(max);
    let len = buffer.len();
    // SAFETY: `max` bytes behind `len` were reserved.
    let count = unsafe { libc::recv(fd, buffer.as_mut_ptr().add(len).cast(), max, libc::MSG_DONTWAIT) };
    if count < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(true) } else { Err(error) };
    }
    // SAFETY: the kernel wrote so many bytes there.
    unsafe { buffer.set_len(len + count as usize) };
    Ok(count > 0)
}

/// Writes as much as the socket takes now; 0 if it is full.
pub fn write_some(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of the slice.
    let count = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if count < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) };
    }
    Ok(count as usize)
}

/// CPU seconds that this process has used.
pub fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: all zeros is a valid `rusage`, and the kernel fills it.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
