//! TLS with visitors: certificates by name, and the configuration that handshakes go by.
//!
//! `snapshot` compiles them, `server` shakes hands. Towards backends see `upstream::tls`. It must never serve with a
//! key that isn't the certificate's, nor keep a handshake waiting for a file.
//!
//! In reading order: [`certificate`] is one pair of files, [`store`] finds the one for a name, [`serving`] is what
//! rustls is told; [`acme`] orders certificates, and proves that names are ours by [`challenges`].

pub mod acme;
pub mod certificate;
pub mod challenges;
pub mod serving;
pub mod store;
