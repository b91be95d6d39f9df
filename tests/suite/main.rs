//! The one integration binary: what can only be seen from outside the library.

mod alignment;
mod docs;
mod layering;
mod ms_oracle;
mod products;
mod program;
mod shared;
