//! `open` and `write`, of which every request is made, bound by hand: for each call of what napi-rs binds it makes a
//! scope on the heap and locks it, which took as long as the call itself, 60 ns of 130.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi::bindgen_prelude::*;
use napi::{JsError, sys};
use napi_derive::napi;
use quinn_proto::Dir;

use crate::api::with;
use crate::engine::Open;

type Arguments<const COUNT: usize> = [sys::napi_value; COUNT];

#[napi(module_exports)]
pub fn bind_calls(mut exports: Object, env: Env) -> Result<()> {
    for (name, call) in [("open", open as _), ("write", write as _)] {
        let mut function = ptr::null_mut();
        let (text, length) = (name.as_ptr().cast(), name.len() as isize);
        // SAFETY: a live environment on its own thread.
        check_status!(unsafe {
            sys::napi_create_function(env.raw(), text, length, Some(call), ptr::null_mut(), &mut function)
        })?;
        // SAFETY: made in the scope of this call.
        exports.set_named_property(name, unsafe { Unknown::from_raw_unchecked(env.raw(), function) })?;
    }
    Ok(())
}

/// `open(endpoint, connection, unidirectional, data, fin)`: the stream's id plus 2^32 times the bytes taken; -1: wait
/// for AVAILABLE; -2: the connection has ended.
unsafe extern "C" fn open(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as called by Node-API; the bytes are copied before the call returns.
    unsafe {
        answer(env, info, |[endpoint, connection, unidirectional, data, fin]: Arguments<5>| {
            let dir = if bool::from_napi_value(env, unidirectional)? { Dir::Uni } else { Dir::Bi };
            let connection = u32::from_napi_value(env, connection)?;
            let data = <&[u8]>::from_napi_value(env, data)?;
            let fin = bool::from_napi_value(env, fin)?;
            with(u32::from_napi_value(env, endpoint)?, |engine| match engine.open(connection, dir, data, fin) {
                Open::Opened(id, taken) => (((taken as u64) << 32) | u64::from(id)) as f64,
                Open::Wait => -1.0,
                Open::Closed => -2.0,
            })
        })
    }
}

/// `write(endpoint, stream, data, fin)`: bytes taken (the FIN too, when all were), or -1: the stream takes no more.
unsafe extern "C" fn write(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as called by Node-API; the bytes are copied before the call returns.
    unsafe {
        answer(env, info, |[endpoint, stream, data, fin]: Arguments<4>| {
            let stream = u32::from_napi_value(env, stream)?;
            let data = <&[u8]>::from_napi_value(env, data)?;
            let fin = bool::from_napi_value(env, fin)?;
            with(u32::from_napi_value(env, endpoint)?, |engine| {
                engine.write(stream, data, fin).map_or(-1, |taken| taken as i32)
            })
        })
    }
}

/// What `call` answers to the arguments, or its error or panic, thrown.
///
/// # Safety
/// Only for Node-API to call, with what it gives.
unsafe fn answer<const COUNT: usize, R: ToNapiValue>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    call: impl FnOnce(Arguments<COUNT>) -> Result<R>,
) -> sys::napi_value {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let CallbackInfo { args, .. } = CallbackInfo::<COUNT>::new(env, info, None, false)?;
        // SAFETY: by contract.
        unsafe { R::to_napi_value(env, call(args)?) }
    }));
    outcome.unwrap_or_else(|panic| Err(panic_to_error(panic))).unwrap_or_else(|error| {
        // SAFETY: by contract; the pending exception is what JavaScript gets.
        unsafe { JsError::from(error).throw_into(env) };
        ptr::null_mut()
    })
}
