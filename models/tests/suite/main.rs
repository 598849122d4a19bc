//! Models: signals, derivatives, graphs, geometries and walks against exact values.
//!
//! One binary for all of them: a topic runs by its module, `cargo test --release -p
//! microtome-models --test suite axons::`.

mod axons;
mod bingham;
mod bits;
mod charts;
mod composed;
mod composition;
mod ct;
mod ct_graph;
mod cumulant;
mod derivatives;
mod dictionary;
mod dual;
mod encoding;
mod exact;
mod exchange;
mod graph;
mod information;
mod jacobian;
mod modifiers;
mod pooled;
mod pose;
mod posterior;
mod reference;
mod restricted;
mod separable;
mod set_ups;
mod simulation;
mod simulation_sequences;
mod spherical_harmonics;
mod tissue;
mod tracking;
mod tract_graph;
mod trajectories;
mod waveforms;
