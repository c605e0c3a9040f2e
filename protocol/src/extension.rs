//! Extensions of IMAP, one file per RFC: what each adds to the grammar. Commands without arguments (IDLE, NAMESPACE, UNSELECT) and what
//! changes a rule of the base (SASL-IR, MULTIAPPEND, LITERAL+) stand where the base has its grammar, with their RFC.

pub mod rfc2971_id;
pub mod rfc3516_binary;
pub mod rfc4315_uidplus;
pub mod rfc5092_url;
pub mod rfc5161_enable;
pub mod rfc5256_sort_thread;
pub mod rfc6154_special_use;
pub mod rfc6851_move;
pub mod uw_scan;
