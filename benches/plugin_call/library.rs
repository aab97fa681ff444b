//! The library that `plugin_call` loads: handlers that give back what they get, and the library's own allocations.

mod counting;

use std::alloc::System;

use jackfield_plugin_api::{
    Answer, Command, Manifest, NoArguments, Plugin, Registrar, Result, export_plugin, manifest,
};

#[global_allocator]
static ALLOCATOR: counting::Counting<System> = counting::Counting(System);

struct Echo;

impl Plugin for Echo {
    fn manifest(&self) -> Manifest {
        manifest!("echo-in-rust")
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let define = |cmd| Command::define("library", "core", cmd);
        registrar.command(
            define("ready").raw_handler(|_cx, request| async move { Ok(Answer::Reply(request.data)) }),
        );
        registrar.command(define("pending").raw_handler(|_cx, request| async move {
            tokio::task::yield_now().await;
            Ok(Answer::Reply(request.data))
        }));
        // Counts from the first time on that it is asked.
        registrar.command(define("allocations").handler(|_cx, _: NoArguments| {
            counting::begin();
            std::future::ready(Ok(counting::counted()))
        }));
        Ok(())
    }
}

export_plugin!(Echo);
