//! The one integration binary: what can only be seen from outside the library.

mod docs;
mod layering;
mod ms_oracle;
mod products;
