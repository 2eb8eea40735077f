//! Strategies for notifications, one a code.

use fusewire_proto::op::WireList;
use fusewire_proto::{Notification, NotifyUnique, PollHandle};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::values::{data, flags, name, node, number};

/// A strategy for each notification there is.
pub(crate) fn each() -> Vec<BoxedStrategy<Notification<'static>>> {
    vec![
        number().prop_map(|handle| Notification::Poll { poll_handle: PollHandle(handle) }).boxed(),
        (node(), any::<i64>(), any::<i64>())
            .prop_map(|(node, offset, length)| Notification::InvalInode { node, offset, length })
            .boxed(),
        (node(), name(), flags())
            .prop_map(|(parent, name, flags)| Notification::InvalEntry { parent, name, flags })
            .boxed(),
        (node(), number(), data(100))
            .prop_map(|(node, offset, data)| Notification::Store { node, offset, data })
            .boxed(),
        (number(), node(), number(), any::<u32>())
            .prop_map(|(unique, node, offset, size)| Notification::Retrieve {
                notify_unique: NotifyUnique(unique),
                node,
                offset,
                size,
            })
            .boxed(),
        (node(), node(), name()).prop_map(|(parent, child, name)| Notification::Delete { parent, child, name }).boxed(),
        Just(Notification::Resend).boxed(),
        Just(Notification::IncEpoch).boxed(),
        vec(node(), 0..6)
            .prop_map(|nodes| Notification::Prune { nodes: WireList::new(WireList::bytes_of(&nodes).leak()) })
            .boxed(),
    ]
}
