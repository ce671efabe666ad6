//! An endpoint on Node's own loop: no thread, no wake-up between threads, no lock.
//!
//! Four libuv handles: the UDP descriptor, a timer, a prepare handle that sends what JavaScript
//! queued in this tick (many writes leave in one GSO send), and an idle handle that keeps the loop
//! from sleeping while there is more to do. All of it runs on the thread of its environment.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use napi::sys;
use quinn_proto::crypto::rustls::QuicServerConfig;

use crate::engine::{Admission, Engine, Hooks};
use crate::hello::Hello;
use crate::session::Configure;
use crate::socket::{ReceiveBuffer, Socket};
use crate::table::Table;
use crate::tls::ServerTls;
use crate::uv::{self, Handle, Uv};

/// Rounds of receive, process and deliver before the loop has its turn again.
const ROUNDS: usize = 16;
/// What is always looked for on the socket.
const WATCHED: c_int = uv::READABLE | uv::PRIORITIZED;
/// ALPN names of a ClientHello that JavaScript is shown.
const MAX_ALPN: usize = 64;
const INTERNAL_ERROR: u8 = 80;

thread_local! {
    /// `None`: reserved. A number that was an endpoint's is not soon another's.
    static RUNTIMES: RefCell<Table<Option<Rc<Runtime>>>> = RefCell::new(Table::new());
    static RECEIVE: RefCell<Option<ReceiveBuffer>> = const { RefCell::new(None) };
    /// Who sent the datagram that is being read.
    static SOURCE: Cell<Option<(SocketAddr, bool)>> = const { Cell::new(None) };
    static SERVER_TLS: RefCell<Table<Arc<ServerTls>>> = RefCell::new(Table::new());
}

/// JavaScript's functions: `wake()`, `admit(address, port, validated)`,
/// `configure(alpn, serverName, address, port, validated)`.
pub struct Callbacks {
    pub env: sys::napi_env,
    pub wake: sys::napi_ref,
    pub admit: sys::napi_ref,
    pub configure: sys::napi_ref,
    pub context: sys::napi_async_context,
}

impl Callbacks {
    /// # Safety
    /// On the environment's thread, once.
    unsafe fn forget(&self) {
        // SAFETY: by contract.
        unsafe {
            for reference in [self.wake, self.admit, self.configure] {
                sys::napi_delete_reference(self.env, reference);
            }
            sys::napi_async_destroy(self.env, self.context);
        }
    }
}

pub struct Runtime {
    id: u32,
    uv: &'static Uv,
    event_loop: uv::Loop,
    engine: RefCell<Option<Engine>>,
    callbacks: Callbacks,
    poll: Cell<Handle>,
    timer: Handle,
    prepare: Handle,
    idle: Handle,
    /// Handles that libuv still holds.
    open: Cell<usize>,
    referenced: Cell<bool>,
    running: Cell<bool>,
    idling: Cell<bool>,
    wants_write: Cell<bool>,
    armed: Cell<Option<Instant>>,
    closed: Cell<bool>,
    /// Handshakes that are to make room: asked for inside a hook, where the engine is in use.
    drops: RefCell<Vec<u32>>,
    cleanup: Cell<sys::napi_async_cleanup_hook_handle>,
}

/// The runtime with this number on this thread.
pub fn runtime(id: u32) -> Option<Rc<Runtime>> {
    RUNTIMES.with_borrow(|all| all.get(id)?.clone())
}

/// Register a server's TLS settings on this thread; the number is valid until [`forget_server_tls`].
pub fn add_server_tls(tls: ServerTls) -> Option<u32> {
    SERVER_TLS.with_borrow_mut(|all| all.insert_with(|_| Arc::new(tls)))
}

pub fn forget_server_tls(id: u32) {
    let gone = SERVER_TLS.with_borrow_mut(|all| {
        let gone = all.remove(id);
        all.reuse();
        gone
    });
    drop(gone);
}

/// Reserve the number that the runtime to come will have: its hooks carry it.
pub fn reserve() -> Option<u32> {
    RUNTIMES.with_borrow_mut(|all| {
        all.reuse();
        all.insert_with(|_| None)
    })
}

/// Give back a number from [`reserve`] that came to nothing.
pub fn give_back(id: u32) {
    RUNTIMES.with_borrow_mut(|all| drop(all.remove(id)));
}

impl Runtime {
    /// Put `engine` on the loop of `callbacks.env` under the number from [`reserve`].
    pub fn start(id: u32, engine: Engine, callbacks: Callbacks) -> Result<Rc<Self>, String> {
        let uv = uv::uv().map_err(|reason| format!("cannot run on this host's event loop: {reason}"))?;
        let mut event_loop = ptr::null_mut();
        // SAFETY: a live environment on its own thread, where we are.
        if unsafe { sys::napi_get_uv_event_loop(callbacks.env, &mut event_loop) } != sys::Status::napi_ok {
            return Err("cannot run on this host: it has no libuv event loop".into());
        }
        let event_loop = event_loop as uv::Loop;
        let runtime = Rc::new(Self {
            id,
            uv,
            event_loop,
            poll: Cell::new(uv::allocate(uv, uv::POLL)),
            timer: uv::allocate(uv, uv::TIMER),
            prepare: uv::allocate(uv, uv::PREPARE),
            idle: uv::allocate(uv, uv::IDLE),
            engine: RefCell::new(Some(engine)),
            callbacks,
            open: Cell::new(0),
            referenced: Cell::new(true),
            running: Cell::new(false),
            idling: Cell::new(false),
            wants_write: Cell::new(false),
            armed: Cell::new(None),
            closed: Cell::new(false),
            drops: RefCell::default(),
            cleanup: Cell::new(ptr::null_mut()),
        });
        if let Err(reason) = runtime.start_poll() {
            // SAFETY: never initialised; the callbacks are live.
            unsafe {
                for handle in [runtime.timer, runtime.prepare, runtime.idle] {
                    uv::free(handle);
                }
                runtime.callbacks.forget();
            }
            return Err(reason);
        }
        // SAFETY: fresh handles on the loop of this thread; each holds a count of the runtime.
        unsafe {
            (uv.timer_init)(event_loop, runtime.timer);
            (uv.prepare_init)(event_loop, runtime.prepare);
            (uv.idle_init)(event_loop, runtime.idle);
            for handle in [runtime.timer, runtime.prepare, runtime.idle] {
                runtime.adopt(handle);
                (uv.unref)(handle);
            }
            (uv.prepare_start)(runtime.prepare, on_prepare);
            let mut hook = ptr::null_mut();
            let argument = Rc::into_raw(runtime.clone()) as *mut c_void;
            sys::napi_add_async_cleanup_hook(runtime.callbacks.env, Some(on_env_cleanup), argument, &mut hook);
            runtime.cleanup.set(hook);
        }
        RUNTIMES.with_borrow_mut(|all| {
            if let Some(place) = all.get_mut(id) {
                *place = Some(runtime.clone());
            }
        });
        Ok(runtime)
    }

    fn start_poll(self: &Rc<Self>) -> Result<(), String> {
        let descriptor = match &*self.engine.borrow() {
            Some(engine) => engine.socket().descriptor().as_raw_fd(),
            None => return Err("the endpoint is closed".into()),
        };
        let handle = self.poll.get();
        // SAFETY: a fresh handle, and a descriptor that lives until after uv_close.
        unsafe {
            let status = (self.uv.poll_init)(self.event_loop, handle, descriptor);
            if status != 0 {
                uv::free(handle);
                return Err(format!("cannot watch the UDP socket: libuv error {status}"));
            }
            self.adopt(handle);
            (self.uv.poll_start)(handle, WATCHED, on_poll);
            if !self.referenced.get() {
                (self.uv.unref)(handle);
            }
        }
        Ok(())
    }

    /// # Safety
    /// `handle` was initialised on the loop of this thread.
    unsafe fn adopt(self: &Rc<Self>, handle: Handle) {
        self.open.set(self.open.get() + 1);
        // SAFETY: the count is given back in `on_closed`.
        unsafe { (self.uv.handle_set_data)(handle, Rc::into_raw(self.clone()) as *mut c_void) };
    }

    /// Use the engine. `None` once the endpoint is closed; an error from inside one of its own hooks.
    pub fn with<R>(&self, f: impl FnOnce(&mut Engine) -> R) -> Result<Option<R>, &'static str> {
        let mut engine = self
            .engine
            .try_borrow_mut()
            .map_err(|_| "cannot use the endpoint from inside its own admit or configure function")?;
        Ok(engine.as_mut().map(f))
    }

    /// Receive (when `readable`), process, deliver, until there is nothing left or the turn is long.
    pub fn run(&self, readable: bool) {
        if self.running.replace(true) {
            return;
        }
        let mut readable = readable;
        for _ in 0..ROUNDS {
            let Some(ready) = self.guarded_step(|engine| {
                if readable {
                    readable =
                        RECEIVE.with_borrow_mut(|buffer| engine.receive(buffer.get_or_insert_with(ReceiveBuffer::new)));
                }
                for handshake in self.drops.take() {
                    engine.drop_handshake(handshake);
                }
                engine.digest(Instant::now());
                engine.has_ready()
            }) else {
                break;
            };
            if ready {
                self.deliver();
                if self.closed.get() {
                    break;
                }
            }
            let Some(more) = self.guarded_step(|engine| engine.transmit(Instant::now()) || engine.has_ready()) else {
                break;
            };
            if !more && !readable {
                break;
            }
        }
        self.running.set(false);
        if !self.closed.get() {
            self.arm();
        }
    }

    /// Read what ICMP has told.
    fn hear(&self) {
        self.guarded_step(|engine| {
            engine.hear();
            true
        });
    }

    /// One step of a turn; a panic in it ends the connection it was at. `None` once closed.
    fn guarded_step(&self, step: impl FnOnce(&mut Engine) -> bool) -> Option<bool> {
        let mut guard = self.engine.borrow_mut();
        let engine = guard.as_mut()?;
        let outcome = catch_unwind(AssertUnwindSafe(|| step(engine)));
        Some(outcome.unwrap_or_else(|_| {
            engine.recover();
            true
        }))
    }

    /// Send what JavaScript queued, if it queued anything.
    fn flush(&self) {
        let pending = match &*self.engine.borrow() {
            Some(engine) => engine.has_dirty() || engine.has_ready() || !self.drops.borrow().is_empty(),
            None => false,
        };
        if pending || self.idling.get() {
            self.run(false);
        }
    }

    /// Set the timer, the idle handle and the wish to write as the engine's state needs.
    fn arm(&self) {
        let guard = self.engine.borrow();
        let Some(engine) = &*guard else { return };
        let deadline = engine.next_deadline();
        let mut busy = engine.has_dirty() || engine.has_ready();
        // SAFETY: live handles of this thread's loop.
        unsafe {
            if let Some(at) = deadline
                && self.armed.get().is_none_or(|armed| at < armed)
            {
                let wait = at.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    busy = true;
                } else {
                    // Rounded up: a pacing timer that fires late costs less than a loop that spins.
                    let milliseconds = wait.as_micros().div_ceil(1000) as u64;
                    (self.uv.update_time)(self.event_loop);
                    (self.uv.timer_start)(self.timer, on_timer, milliseconds, 0);
                    self.armed.set(Some(Instant::now() + Duration::from_millis(milliseconds)));
                }
            }
            if busy != self.idling.get() {
                self.idling.set(busy);
                match busy {
                    true => (self.uv.idle_start)(self.idle, on_idle),
                    false => (self.uv.idle_stop)(self.idle),
                };
            }
            let wants_write = engine.wants_write();
            if wants_write != self.wants_write.get() {
                self.wants_write.set(wants_write);
                let events = WATCHED | if wants_write { uv::WRITABLE } else { 0 };
                (self.uv.poll_start)(self.poll.get(), events, on_poll);
            }
        }
    }

    fn deliver(&self) {
        let Callbacks { env, wake, context, .. } = self.callbacks;
        // SAFETY: on the environment's thread, in a handle scope of our own; the engine is not borrowed.
        unsafe {
            let mut scope = ptr::null_mut();
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return;
            }
            let (mut function, mut receiver, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            sys::napi_get_reference_value(env, wake, &mut function);
            sys::napi_get_global(env, &mut receiver);
            let status = sys::napi_make_callback(env, context, receiver, function, 0, ptr::null(), &mut result);
            if status == sys::Status::napi_pending_exception {
                let mut exception = ptr::null_mut();
                sys::napi_get_and_clear_last_exception(env, &mut exception);
                sys::napi_fatal_exception(env, exception);
            }
            sys::napi_close_handle_scope(env, scope);
        }
    }

    /// Call one of the decision functions and read its number.
    ///
    /// # Safety
    /// On the environment's thread; `arguments` makes values in the scope that is open then.
    unsafe fn ask(
        &self,
        function: sys::napi_ref,
        arguments: impl FnOnce(sys::napi_env) -> Vec<sys::napi_value>,
    ) -> Option<f64> {
        let env = self.callbacks.env;
        // SAFETY: by contract. Without make_callback, so that no other JavaScript runs meanwhile.
        unsafe {
            let mut scope = ptr::null_mut();
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return None;
            }
            let arguments = arguments(env);
            let (mut callee, mut receiver, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            sys::napi_get_reference_value(env, function, &mut callee);
            sys::napi_get_undefined(env, &mut receiver);
            let status =
                sys::napi_call_function(env, receiver, callee, arguments.len(), arguments.as_ptr(), &mut result);
            let mut number = 0.0;
            let answered = status == sys::Status::napi_ok
                && sys::napi_get_value_double(env, result, &mut number) == sys::Status::napi_ok;
            if status == sys::Status::napi_pending_exception {
                // The TypeScript side catches and reports; nothing should arrive here.
                let mut exception = ptr::null_mut();
                sys::napi_get_and_clear_last_exception(env, &mut exception);
            }
            sys::napi_close_handle_scope(env, scope);
            answered.then_some(number)
        }
    }

    /// At the next turn, which is this one inside a hook.
    pub fn drop_handshake(&self, handshake: u32) {
        self.drops.borrow_mut().push(handshake);
    }

    pub fn set_referenced(&self, on: bool) {
        if self.closed.get() || self.referenced.replace(on) == on {
            return;
        }
        // SAFETY: a live handle.
        unsafe {
            match on {
                true => (self.uv.r#ref)(self.poll.get()),
                false => (self.uv.unref)(self.poll.get()),
            }
        }
    }

    /// Move the endpoint to another socket; connections probe their paths anew.
    pub fn rebind(self: &Rc<Self>, socket: Socket) -> Result<(), String> {
        let before = match self.with(|engine| engine.rebind(socket))? {
            Some(before) => before,
            None => return Err("the endpoint is closed".into()),
        };
        let handle = self.poll.replace(uv::allocate(self.uv, uv::POLL));
        // SAFETY: a live handle; its descriptor is closed after libuv stopped watching it.
        unsafe { (self.uv.close)(handle, Some(on_closed)) };
        drop(before);
        self.wants_write.set(false);
        self.start_poll()?;
        self.run(false);
        Ok(())
    }

    /// Let go of the loop, the socket and all state. What is in flight is lost.
    pub fn shutdown(&self) {
        if self.closed.replace(true) {
            return;
        }
        // SAFETY: live handles, closed once.
        unsafe {
            for handle in [self.poll.get(), self.timer, self.prepare, self.idle] {
                (self.uv.close)(handle, Some(on_closed));
            }
            self.callbacks.forget();
        }
        // Held while a hook runs, and then dropped with the runtime.
        if let Ok(mut engine) = self.engine.try_borrow_mut() {
            drop(engine.take());
        }
        drop(RUNTIMES.with_borrow_mut(|all| all.remove(self.id)));
    }
}

/// The decisions of JavaScript for the runtime of this number.
pub struct JsHooks {
    pub id: u32,
    /// `admit` has something to say.
    pub admits: bool,
}

impl JsHooks {
    fn ask(
        &self,
        which: impl Fn(&Callbacks) -> sys::napi_ref,
        arguments: impl FnOnce(sys::napi_env) -> Vec<sys::napi_value>,
    ) -> Option<f64> {
        let runtime = runtime(self.id)?;
        if runtime.closed.get() {
            return None;
        }
        // SAFETY: hooks run inside a turn, on the thread of the loop.
        unsafe { runtime.ask(which(&runtime.callbacks), arguments) }
    }
}

impl Hooks for JsHooks {
    fn admit(&self, source: SocketAddr, validated: bool, handshake: u32) -> Admission {
        if !self.admits {
            return Admission::Accept;
        }
        let answer = self.ask(
            |callbacks| callbacks.admit,
            |env| {
                let mut values = source_values(env, source, validated);
                values.push(number(env, handshake));
                values
            },
        );
        match answer {
            Some(0.0) => Admission::Accept,
            Some(1.0) => Admission::Retry,
            Some(2.0) => Admission::Refuse,
            _ => Admission::Ignore,
        }
    }

    fn entering(&self, source: SocketAddr, validated: bool) {
        SOURCE.set(Some((source, validated)));
    }
}

impl Configure for JsHooks {
    /// JavaScript answers `tls * 4096 + index of the chosen name`, or `-(alert + 1)`.
    fn configure(&self, hello: &Hello) -> Result<Arc<QuicServerConfig>, u8> {
        let (source, validated) = SOURCE.get().ok_or(INTERNAL_ERROR)?;
        let answer = self
            .ask(
                |callbacks| callbacks.configure,
                |env| {
                    let mut values = vec![strings(env, hello.alpn.iter().take(MAX_ALPN))];
                    values.push(match &hello.server_name {
                        Some(name) => string(env, name),
                        None => undefined(env),
                    });
                    values.extend(source_values(env, source, validated));
                    values
                },
            )
            .ok_or(INTERNAL_ERROR)?;
        if answer < 0.0 {
            return Err((-answer - 1.0) as u8);
        }
        let answer = answer as u64;
        let (tls, index) = ((answer >> 12) as u32, (answer & 0xfff) as usize);
        let tls = SERVER_TLS.with_borrow(|all| all.get(tls).cloned()).ok_or(INTERNAL_ERROR)?;
        let alpn = hello.alpn.get(index).ok_or(INTERNAL_ERROR)?;
        tls.configure(alpn, hello.server_raw_key, hello.client_raw_key).map_err(|_| INTERNAL_ERROR)
    }
}

fn source_values(env: sys::napi_env, source: SocketAddr, validated: bool) -> Vec<sys::napi_value> {
    let address = string(env, source.ip().to_string().as_bytes());
    let mut proven = ptr::null_mut();
    // SAFETY: a plain value in the open scope.
    unsafe { sys::napi_get_boolean(env, validated, &mut proven) };
    vec![address, number(env, source.port().into()), proven]
}

fn number(env: sys::napi_env, number: u32) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: a plain value in the open scope.
    unsafe { sys::napi_create_uint32(env, number, &mut value) };
    value
}

fn string(env: sys::napi_env, bytes: &[u8]) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: Latin-1 takes any bytes.
    unsafe { sys::napi_create_string_latin1(env, bytes.as_ptr().cast(), bytes.len() as isize, &mut value) };
    value
}

fn strings<'a>(env: sys::napi_env, items: impl Iterator<Item = &'a Vec<u8>>) -> sys::napi_value {
    let mut array = ptr::null_mut();
    // SAFETY: values in the open scope.
    unsafe {
        sys::napi_create_array(env, &mut array);
        for (index, item) in items.enumerate() {
            sys::napi_set_element(env, array, index as u32, string(env, item));
        }
    }
    array
}

fn undefined(env: sys::napi_env) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: always there.
    unsafe { sys::napi_get_undefined(env, &mut value) };
    value
}

/// The runtime whose handle this is, counted once more for the time of a callback.
///
/// # Safety
/// `handle` was adopted and is not closed.
unsafe fn of(handle: Handle) -> Option<Rc<Runtime>> {
    let uv = uv::uv().ok()?;
    // SAFETY: the data is a pointer from `adopt`, whose count is still held.
    unsafe {
        let pointer = (uv.handle_get_data)(handle) as *const Runtime;
        Rc::increment_strong_count(pointer);
        Some(Rc::from_raw(pointer))
    }
}

/// A panic must not cross into libuv.
fn guarded(f: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(f));
}

unsafe extern "C" fn on_poll(handle: Handle, status: c_int, events: c_int) {
    guarded(|| {
        // SAFETY: libuv calls for live handles only.
        if let Some(runtime) = unsafe { of(handle) } {
            if status < 0 {
                // libuv stopped watching: an error was pending on the socket. Reading takes it away.
                runtime.wants_write.set(false);
                // SAFETY: a live handle.
                unsafe { (runtime.uv.poll_start)(handle, WATCHED, on_poll) };
                runtime.hear();
                runtime.run(true);
                return;
            }
            if events & uv::WRITABLE != 0 {
                runtime.wants_write.set(false);
                // SAFETY: a live handle.
                unsafe { (runtime.uv.poll_start)(handle, WATCHED, on_poll) };
            }
            let errors = events & uv::PRIORITIZED != 0;
            if errors {
                runtime.hear();
            }
            // Reading takes the last error away also where the kernel had no room to queue it.
            runtime.run(errors || events & uv::READABLE != 0);
        }
    });
}

unsafe extern "C" fn on_timer(handle: Handle) {
    guarded(|| {
        // SAFETY: as above.
        if let Some(runtime) = unsafe { of(handle) } {
            runtime.armed.set(None);
            runtime.run(false);
        }
    });
}

unsafe extern "C" fn on_prepare(handle: Handle) {
    guarded(|| {
        // SAFETY: as above.
        if let Some(runtime) = unsafe { of(handle) } {
            runtime.flush();
        }
    });
}

/// Only there to keep the loop from sleeping: the prepare handle does the work.
unsafe extern "C" fn on_idle(_handle: Handle) {}

unsafe extern "C" fn on_closed(handle: Handle) {
    guarded(|| {
        let Ok(uv) = uv::uv() else { return };
        // SAFETY: libuv is done with the handle; the count from `adopt` is given back.
        unsafe {
            let runtime = Rc::from_raw((uv.handle_get_data)(handle) as *const Runtime);
            uv::free(handle);
            runtime.open.set(runtime.open.get() - 1);
            if runtime.open.get() == 0 {
                let hook = runtime.cleanup.replace(ptr::null_mut());
                if !hook.is_null() {
                    sys::napi_remove_async_cleanup_hook(hook);
                    // The count that the hook held.
                    Rc::decrement_strong_count(Rc::as_ptr(&runtime));
                }
            }
        }
    });
}

/// The environment ends: `process.exit`, or a worker is terminated.
unsafe extern "C" fn on_env_cleanup(_hook: sys::napi_async_cleanup_hook_handle, argument: *mut c_void) {
    guarded(|| {
        let runtime = argument as *const Runtime;
        // SAFETY: the hook holds a count until `on_closed` removes the hook.
        unsafe { (*runtime).shutdown() };
    });
}
