//! What every gRPC service of ours shares: who is calling, what they may do, and how errors are
//! said. What a service does lives in its own crate.
