//! The device's orders: as they come, and from the stream where nothing came.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;

use super::Background;
use crate::identity::Join;
use crate::link::Line;
use crate::wire::{Down, Orders, Subjects};

/// How often the stream is asked although nothing came: a message may have been lost while the connection was.
const ASK: Duration = Duration::from_secs(2);

/// The newest orders of the coordinator. Others, older ones and forged ones are left unread.
pub(super) fn listen(
    line: &Line,
    subjects: &Subjects,
    join: &Arc<Join>,
) -> (Background, watch::Receiver<Option<Orders>>) {
    let (newest, receiver) = watch::channel(None);
    let (line, subjects, join) = (line.clone(), subjects.clone(), Arc::clone(join));
    let listening = tokio::spawn(async move {
        let subject = subjects.down(&join.device);
        loop {
            let subscription = line.client.subscribe(subject.clone()).await;
            let mut subscription = match subscription {
                Ok(subscription) => subscription,
                Err(_) => {
                    tokio::time::sleep(ASK).await;
                    continue;
                }
            };
            let mut subscribed = true;
            while subscribed {
                let times = line.times_made();
                let last = line.last(&subjects.down_stream(), &subject).await;
                if let Ok(Some(bytes)) = last {
                    take(&newest, &bytes, &join);
                }
                let pause = tokio::time::sleep(ASK);
                tokio::pin!(pause);
                loop {
                    tokio::select! {
                        message = subscription.next() => match message {
                            Some(message) => take(&newest, &message.payload, &join),
                            None => {
                                subscribed = false;
                                tokio::time::sleep(ASK).await;
                                break;
                            }
                        },
                        () = &mut pause => break,
                        // What was said while there was no connection.
                        () = line.made_again(times) => break,
                    }
                }
            }
        }
    });
    (Background(listening), receiver)
}

fn take(newest: &watch::Sender<Option<Orders>>, bytes: &[u8], join: &Join) {
    let opened = Down::open(bytes, &join.fleet, &join.device, &join.coordinator);
    if let Ok(Down::Orders(orders)) = opened {
        newest.send_if_modified(|known| {
            // Every run begins to count anew, and the run's signed description says which one counts.
            let newer = known
                .as_ref()
                .is_none_or(|known| known.run != orders.run || known.sequence < orders.sequence);
            if newer {
                *known = Some(orders);
            }
            newer
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;
    use crate::identity::Key;

    #[test]
    fn older_orders_are_left_unread_and_those_of_another_run_are_not() {
        let coordinator = Key::generate();
        let join = Join {
            fleet: Name::new("lab").unwrap(),
            device: Name::new("nano").unwrap(),
            address: "nats://127.0.0.1:4222".into(),
            others: Vec::new(),
            authority: None,
            coordinator: coordinator.public(),
            key: Key::generate(),
        };
        let orders = |run, sequence| Orders {
            fleet: join.fleet.clone(),
            run,
            device: join.device.clone(),
            sequence,
            assignment: None,
            difference: None,
            verdict: None,
            wanted: None,
            finished: None,
        };
        let (newest, receiver) = watch::channel(None);
        let known = |run, sequence, key: &Key| {
            take(&newest, &orders(run, sequence).seal(key), &join);
            let known = receiver.borrow().clone();
            known.map(|known: Orders| (known.run, known.sequence))
        };
        assert_eq!(known(7, 5, &Key::generate()), None);
        assert_eq!(known(7, 5, &coordinator), Some((7, 5)));
        assert_eq!(known(7, 4, &coordinator), Some((7, 5)));
        assert_eq!(known(7, 6, &coordinator), Some((7, 6)));
        // A run that has begun since counts from the start.
        assert_eq!(known(8, 1, &coordinator), Some((8, 1)));
    }
}
