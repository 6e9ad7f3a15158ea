//! A fence around a library that may panic on what a server sends: the task ends, the run does not, and nobody sees a
//! backtrace.

use std::{future::Future, panic, sync::Once};
use tokio::task::{JoinSet, futures::TaskLocalFuture};

tokio::task_local! {
    static FENCED: ();
}

/// The task behind the fence panicked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Keeps panics of fenced tasks off the terminal, once for the whole process; others are shown as before.
pub(super) fn silence_fenced_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !is_fenced() {
                shown(info);
            }
        }));
    });
}

/// Runs a future in a task of its own, which ends with us should we be dropped.
pub(super) async fn fenced<F>(future: F) -> Result<F::Output, Panicked>
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let scoped: TaskLocalFuture<(), F> = FENCED.scope((), future);
    tasks.spawn(scoped);
    match tasks.join_next().await {
        Some(Ok(output)) => Ok(output),
        // Nobody but us could cancel it, so that it panicked is all that is left.
        Some(Err(_)) | None => Err(Panicked),
    }
}

fn is_fenced() -> bool {
    FENCED.try_with(|()| ()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_stays_behind_the_fence() {
        silence_fenced_panics();
        assert_eq!(fenced(async { is_fenced() }).await, Ok(true));
        assert!(!is_fenced());
        let ended: Result<(), _> = fenced(async { panic!("a malformed reply") }).await;
        assert_eq!(ended, Err(Panicked));
    }
}
