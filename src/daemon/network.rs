//! Addresses, networks and gateways of this host, told to the inbox whenever they change.

use super::inbox::Sender;
use crate::jail::Surroundings;

/// The present state, and from now on an event for each change. Where the system does not tell, the
/// state is empty: loopback is never banned in any case.
#[cfg(target_os = "linux")]
pub fn watch(sender: Sender) -> Surroundings {
    use super::{inbox::Event, netlink::Horizon};
    let mut horizon = Horizon::open().ok();
    let first = horizon.as_mut().and_then(|horizon| linux::Sight::look(horizon).ok());
    let follow = linux::Follow { sight: horizon.filter(|_| first.is_some()), last: first.clone() };
    let work = move || {
        let tell = |news| {
            let event = match news {
                linux::News::Seen(now) => Event::Network(Box::new(now)),
                linux::News::Trouble(text) => Event::Noted(super::log::Level::WARNING, text),
            };
            sender.send(event).is_ok()
        };
        follow.run(Horizon::open, tell, std::thread::sleep);
    };
    // Without a thread we know what we know now.
    let _ = std::thread::Builder::new().name("network".to_owned()).spawn(work);
    first.unwrap_or_default()
}

/// The present state, and from now on an event for each change: nothing tells of one, so it is
/// looked for again and again.
#[cfg(not(target_os = "linux"))]
pub fn watch(sender: Sender) -> Surroundings {
    use super::inbox::Event;
    /// So often, in seconds.
    const LOOK_S: u64 = 10;
    let first = seen(&[]).unwrap_or_default();
    let mut last = first.clone();
    // What cannot be read stays as it was.
    let work = move || {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(LOOK_S));
            let Some(now) = seen(&last.gateways).filter(|now| *now != last) else { continue };
            last = now.clone();
            if sender.send(Event::Network(Box::new(now))).is_err() {
                return;
            }
        }
    };
    // Without a thread we know what we know now.
    let _ = std::thread::Builder::new().name("network".to_owned()).spawn(work);
    first
}

#[cfg(not(target_os = "linux"))]
fn seen(gateways: &[std::net::IpAddr]) -> Option<Surroundings> {
    let ground = super::ground::Ground::look(gateways, true)?;
    let addresses = ground.addresses.iter();
    Some(Surroundings {
        own: addresses.clone().map(|(address, _)| *address).collect(),
        connected: addresses
            .map(|(address, bits)| crate::net::Cidr::new(*address, *bits))
            .collect(),
        gateways: ground.gateways,
        ..Surroundings::default()
    })
}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::Duration;

    use crate::{
        daemon::netlink::{Fault, Horizon},
        jail::Surroundings,
    };

    /// What cannot be looked at is looked at again after so long, and then after twice as long.
    const PAUSE: Duration = Duration::from_secs(1);
    /// But not after longer.
    const PAUSE_MAX: Duration = Duration::from_secs(32);

    /// Looks around, and waits for something to change.
    pub(super) trait Sight {
        fn look(&mut self) -> Result<Surroundings, Fault>;
        fn wait(&mut self) -> Result<(), Fault>;
    }

    impl Sight for Horizon {
        fn look(&mut self) -> Result<Surroundings, Fault> {
            let now = Horizon::look(self)?;
            Ok(Surroundings {
                own: now.own,
                connected: now.connected,
                gateways: now.gateways,
                ..Surroundings::default()
            })
        }

        fn wait(&mut self) -> Result<(), Fault> {
            Horizon::wait(self, None).map(drop)
        }
    }

    pub(super) enum News {
        Seen(Surroundings),
        Trouble(String),
    }

    /// Follows what changes, whatever goes wrong meanwhile.
    pub(super) struct Follow<S> {
        /// None where it has to be opened anew.
        pub sight: Option<S>,
        /// What was seen last, if anything was.
        pub last: Option<Surroundings>,
    }

    impl<S: Sight> Follow<S> {
        /// Until `tell` says that nobody listens.
        pub fn run(
            mut self,
            mut open: impl FnMut() -> Result<S, Fault>,
            mut tell: impl FnMut(News) -> bool,
            mut rest: impl FnMut(Duration),
        ) {
            let mut pause = PAUSE;
            loop {
                let heard = match self.next(&mut open) {
                    Ok(now) if self.last.as_ref() == Some(&now) => true,
                    Ok(now) => {
                        pause = PAUSE;
                        self.last = Some(now.clone());
                        tell(News::Seen(now))
                    }
                    Err(fault) => {
                        self.sight = None;
                        let is_first = pause == PAUSE;
                        let text = format!(
                            "addresses and gateways of this host cannot be seen: {fault}; they \
                             are looked at again, and until then those known are protected"
                        );
                        let heard = !is_first || tell(News::Trouble(text));
                        rest(pause);
                        pause = (pause * 2).min(PAUSE_MAX);
                        heard
                    }
                };
                if !heard {
                    return;
                }
            }
        }

        fn next(
            &mut self,
            open: &mut impl FnMut() -> Result<S, Fault>,
        ) -> Result<Surroundings, Fault> {
            if let Some(sight) = &mut self.sight {
                sight.wait()?;
                return sight.look();
            }
            // What changed before it was opened is told by nobody.
            let sight = self.sight.insert(open()?);
            sight.look()
        }
    }

    #[cfg(test)]
    mod tests {
        use std::{cell::RefCell, collections::VecDeque};

        use super::*;

        /// Gives what is next in the script; each look and each opening takes one.
        struct Scripted<'a>(&'a RefCell<VecDeque<Result<u8, ()>>>);

        fn take(script: &RefCell<VecDeque<Result<u8, ()>>>) -> Result<u8, Fault> {
            script.borrow_mut().pop_front().unwrap().map_err(|()| Fault::NoAnswer)
        }

        impl Sight for Scripted<'_> {
            fn look(&mut self) -> Result<Surroundings, Fault> {
                let last = take(self.0)?;
                let own = vec![[192, 0, 2, last].into()];
                Ok(Surroundings { own, ..Surroundings::default() })
            }

            fn wait(&mut self) -> Result<(), Fault> {
                Ok(())
            }
        }

        #[test]
        fn a_look_that_fails_is_not_the_last_one() {
            // Opened, seen, seen again, failed; not to be opened; opened, failed; opened, seen.
            let script: VecDeque<Result<u8, ()>> =
                [Ok(0), Ok(1), Ok(1), Err(()), Err(()), Ok(0), Err(()), Ok(0), Ok(2)].into();
            let script = RefCell::new(script);
            let (mut seen, mut troubles, mut rested) = (Vec::new(), 0, Duration::ZERO);
            let follow = Follow { sight: None, last: None };
            follow.run(
                || take(&script).map(|_| Scripted(&script)),
                |news| {
                    match news {
                        News::Seen(now) => seen.push(now.own[0].to_string()),
                        News::Trouble(_) => troubles += 1,
                    }
                    seen.len() < 2
                },
                |pause| rested += pause,
            );
            assert_eq!(seen, ["192.0.2.1", "192.0.2.2"]);
            assert_eq!((troubles, rested), (1, Duration::from_secs(1 + 2 + 4)));
        }
    }
}
