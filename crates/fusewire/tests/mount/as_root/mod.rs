//! What root does, or somebody whom root becomes.

pub(crate) mod errors;
mod methods;
mod unmounting;
pub(crate) mod users;
pub(crate) mod watching;
