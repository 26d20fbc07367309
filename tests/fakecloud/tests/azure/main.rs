//! Every check that the fake Azure makes, from outside, through the proxy: each refusal beside the
//! request that is answered. One binary, because linking costs more than the tests.

mod access;
mod control;
mod desk;
mod entra;
mod faults;
mod federation;
mod imds;
mod keys;
mod ledger;
mod proxy;
mod requests;
