"""Online orders: wrong goods, cancelling, exchanging, prices."""

from t5x_tasks.support_chats.facts import code, counted, day, money, pick
from t5x_tasks.support_chats.model import Domain, End, Intent
from t5x_tasks.support_chats.names import COLOURS, GOODS

ORDERS = Domain(
    "orders",
    ("Northwind Store", "Bluebird Shop", "Casa Mercado", "Kiosk24", "The Home Corner", "Maple & Co", "Shopwell"),
    "returns",
    "an order",
    (
        Intent(
            "wrong_item",
            {"item": pick(GOODS), "got": pick(GOODS), "order": code("99999")},
            (
                "I ordered a {item}, but there was a {got} in the box.",
                "You sent me a {got}. What I paid for is a {item}.",
                ("My parcel came today.", "It has a {got} in it, and I wanted a {item}!"),
                "There must be a mix-up, I got a {got} instead of a {item}.",
                "Somebody packed the wrong thing: a {got}. My order was for a {item}.",
            ),
            ("{C} received a {got} instead of a {item}.", "{C} ordered a {item} but received a {got}."),
            (
                End(
                    (
                        "I'll ship the {item} today, you'll have it on {due}. Just keep the other one.",
                        "The right one goes out now and arrives on {due}. No need to send anything back.",
                    ),
                    ("{A} will send the {item} by {due} and {C} may keep the {got}.",),
                    facts={"due": day(2, 9)},
                    customer=("Really, I can keep it? Thank you!", "Great, thank you.", "That's generous, thanks."),
                ),
                End(
                    (
                        "The {item} is sold out, I'm afraid. I can refund {amount} once you return the {got}.",
                        "We have no {item} left. Send the {got} back for free and you'll get {amount}.",
                    ),
                    ("The {item} is sold out, so {A} will refund {amount} once {C} returns the {got}.",),
                    facts={"amount": money(20, 290)},
                    customer=("A pity, but fine.", "Okay, I'll send it back.", "All right, a refund it is."),
                ),
            ),
            ("order",),
            trouble=True,
        ),
        Intent(
            "cancel_order",
            {"item": pick(GOODS), "order": code("99999"), "ordered": day(-6, -1)},
            (
                "I'd like to cancel order {order}, the {item}.",
                "Please cancel my {item}. The order number is {order}.",
                "Can I still cancel a {item} that I bought on {ordered}?",
                ("I bought a {item} on {ordered}.", "I've changed my mind, can you cancel it?"),
                "I clicked too fast and bought a {item}. How do I stop the order?",
            ),
            ("{C} wants to cancel order {order} for a {item}.", "{C} asks {A} to cancel order {order} for a {item}."),
            (
                End(
                    (
                        "It hasn't left the warehouse, so I've cancelled it. You get {amount} back within {wait}.",
                        "Done. The {amount} will be on your card in {wait}.",
                    ),
                    ("{A} cancels it and refunds {amount} within {wait}.",),
                    facts={"amount": money(15, 400), "wait": counted(2, 9, "day")},
                ),
                End(
                    (
                        "It has already been shipped, so I can't stop it. You can return it until {until}.",
                        "I'm too late, the parcel left this morning. But you may send it back until {until}.",
                    ),
                    ("{A} cannot cancel it because it was already shipped, but {C} can return it until {until}.",),
                    facts={"until": day(14, 40)},
                    customer="no",
                ),
            ),
            ("order",),
            ("order", "ordered"),
        ),
        Intent(
            "exchange_colour",
            {"item": pick(GOODS), "colour": pick(COLOURS), "wanted": pick(COLOURS)},
            (
                "My {item} came in {colour}, and it doesn't look good. I'd like it in {wanted}.",
                "Can I swap a {colour} {item} for a {wanted} one?",
                ("I bought a {colour} {item} from you.", "Is it possible to exchange it for a {wanted} one?"),
                "I want to exchange a {item}. I've got the {colour} one and want {wanted}.",
            ),
            (
                "{C} wants to exchange a {colour} {item} for a {wanted} one.",
                "{C} asks {A} to exchange a {colour} {item} for a {wanted} one.",
            ),
            (
                End(
                    (
                        "That's possible. A courier will swap it at your door on {swap}, is that okay?",
                        "Sure. Would {swap} suit you? The courier brings the new one and takes the old one.",
                    ),
                    ("A courier will swap it on {swap}.",),
                    facts={"swap": day(2, 12)},
                    offer="swap",
                ),
                End(
                    (
                        "The {wanted} one costs {extra} more. Shall I go ahead?",
                        "I can do that, but there's a difference of {extra} to pay.",
                    ),
                    ("{C} agrees to pay {extra} more for it.",),
                    facts={"extra": money(4, 35)},
                    customer=("Okay, I'll pay that.", "That's fine, go ahead.", "Yes, do it."),
                ),
                End(
                    ("We no longer make it in {wanted}, sorry.", "Unfortunately {wanted} has been discontinued."),
                    ("{A} explains that {wanted} is no longer made, so {C} keeps the {colour} one.",),
                    customer=(
                        "Then I'll keep what I have.",
                        "Okay, I'll keep the {colour} one.",
                        "Pity. I'll keep it.",
                    ),
                ),
            ),
            fixable=("wanted",),
        ),
        Intent(
            "price_match",
            {"item": pick(GOODS), "paid": money(60, 400), "lower": money(20, 59)},
            (
                "I paid {paid} for a {item}, and today it's {lower} on your site.",
                "The {item} that I bought for {paid} is now {lower}. Can I get the difference?",
                ("I'm a bit annoyed.", "I bought a {item} for {paid}, and now it costs {lower}!"),
                "You lowered the {item} to {lower} after I paid {paid}.",
            ),
            (
                "{C} complains that a {item} bought for {paid} now costs {lower}.",
                "{C} paid {paid} for a {item} that now costs {lower}.",
            ),
            (
                End(
                    (
                        "I can give you the difference as a voucher, valid for {wait}.",
                        "I'll put the difference on a voucher for you. It's good for {wait}.",
                    ),
                    ("{A} gives {C} a voucher for the difference, valid for {wait}.",),
                    facts={"wait": counted(2, 18, "month")},
                ),
                End(
                    (
                        "We only refund differences within {limit} of the purchase, and yours is older.",
                        "I'm afraid that the price guarantee ends after {limit}, so I can't refund it.",
                    ),
                    ("{A} refuses a refund because the price guarantee ends after {limit}.",),
                    facts={"limit": counted(7, 30, "day")},
                    customer="no",
                ),
            ),
            fixable=("paid",),
            trouble=True,
        ),
    ),
)
