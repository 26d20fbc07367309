//! Every check that the fake Azure makes, from outside, through the proxy: each refusal beside the request that is
//! answered. One binary, because linking costs more than the tests.

mod desk;
mod entra;
