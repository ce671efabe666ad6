//! The few libuv calls that we need, looked up in the running process.
//!
//! Node exports libuv's symbols from its own binary. They are found at run time and not at link
//! time, so that `cargo test` links without Node, and a host without them (Bun, Deno) gets an
//! error with a reason instead of a crash in the loader.

use std::ffi::{CString, c_int, c_void};
use std::sync::OnceLock;

/// Any `uv_*_t`; the layout is libuv's own affair.
pub type Handle = *mut c_void;
/// A `uv_loop_t`.
pub type Loop = *mut c_void;

type HandleCallback = unsafe extern "C" fn(Handle);
type PollCallback = unsafe extern "C" fn(Handle, c_int, c_int);

/// `uv_handle_type` values; fixed since libuv 1.0.
pub const IDLE: c_int = 6;
pub const POLL: c_int = 8;
pub const PREPARE: c_int = 9;
pub const TIMER: c_int = 13;

pub const READABLE: c_int = 1;
pub const WRITABLE: c_int = 2;
/// There is something in the error queue of a socket: on Linux, once `icmp::listen` was there.
pub const PRIORITIZED: c_int = if cfg!(target_os = "linux") { 8 } else { 0 };

macro_rules! symbols {
    ($($name:ident: fn($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        /// Addresses of libuv's functions in this process.
        #[allow(non_snake_case)]
        pub struct Uv {
            $(pub $name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
        }

        impl Uv {
            fn load() -> Result<Self, String> {
                Ok(Self {
                    $($name: {
                        // `ref` is a keyword of Rust.
                        let name = stringify!($name);
                        let symbol = format!("uv_{}", name.strip_prefix("r#").unwrap_or(name));
                        let address = lookup(&symbol).ok_or_else(|| format!("this program does not export {symbol}"))?;
                        // SAFETY: the symbol of this name has this signature in every libuv 1.x.
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) $(-> $ret)?>(address) }
                    },)*
                })
            }
        }
    };
}

symbols! {
    handle_size: fn(c_int) -> usize;
    handle_set_data: fn(Handle, *mut c_void);
    handle_get_data: fn(Handle) -> *mut c_void;
    poll_init: fn(Loop, Handle, c_int) -> c_int;
    poll_start: fn(Handle, c_int, PollCallback) -> c_int;
    timer_init: fn(Loop, Handle) -> c_int;
    timer_start: fn(Handle, HandleCallback, u64, u64) -> c_int;
    prepare_init: fn(Loop, Handle) -> c_int;
    prepare_start: fn(Handle, HandleCallback) -> c_int;
    idle_init: fn(Loop, Handle) -> c_int;
    idle_start: fn(Handle, HandleCallback) -> c_int;
    idle_stop: fn(Handle) -> c_int;
    update_time: fn(Loop);
    close: fn(Handle, Option<HandleCallback>);
    r#ref: fn(Handle);
    unref: fn(Handle);
}

/// libuv of this process, or why there is none.
pub fn uv() -> Result<&'static Uv, String> {
    static UV: OnceLock<Result<Uv, String>> = OnceLock::new();
    UV.get_or_init(Uv::load).as_ref().map_err(Clone::clone)
}

fn lookup(symbol: &str) -> Option<*mut c_void> {
    let symbol = CString::new(symbol).ok()?;
    // SAFETY: a valid C string; RTLD_DEFAULT searches what is loaded already.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// Memory for a handle of `kind`, zeroed. Freed by [`free`] once libuv has let go of it.
pub fn allocate(uv: &Uv, kind: c_int) -> Handle {
    // SAFETY: the size is libuv's own; malloc's alignment suits every C struct.
    unsafe {
        let memory = libc::calloc(1, (uv.handle_size)(kind));
        assert!(!memory.is_null(), "out of memory");
        memory
    }
}

/// # Safety
/// `handle` came from [`allocate`], and its close callback has run, or it was never initialised.
pub unsafe fn free(handle: Handle) {
    // SAFETY: by contract.
    unsafe { libc::free(handle) }
}
