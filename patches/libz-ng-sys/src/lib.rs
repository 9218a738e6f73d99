//! pingora-core asks flate2 for its `zlib-ng` backend, whose `-sys` crate builds C code with cmake, a tool
//! that a fresh machine does not have. This package takes its place under the same name and offers the same
//! interface from `libz-sys`, which needs a C compiler only. Nothing else lives here.
pub use libz_sys::*;
