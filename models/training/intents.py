"""Intents of Banking77 and CLINC150 that speak of one topic of ours: more labelled text for topics that are rare.

Only intents whose every sentence mentions the topic are listed. A sentence of a bank says for sure that food, places
and parcels are not its subject, so those topics count as absent; of the topics in between nothing is told.
"""

from __future__ import annotations

BANKING = {
    "account.access": ("passcode_forgotten", "pin_blocked", "verify_my_identity", "unable_to_verify_identity",
                       "why_verify_identity", "activate_my_card"),
    "account.cancellation": ("terminate_account",),
    "account.security": ("compromised_card", "lost_or_stolen_card", "lost_or_stolen_phone",
                         "card_payment_not_recognised", "cash_withdrawal_not_recognised",
                         "direct_debit_payment_not_recognised"),
    "billing.charge": ("transaction_charged_twice", "extra_charge_on_statement", "card_payment_wrong_exchange_rate"),
    "billing.payment": ("declined_card_payment", "apple_pay_or_google_pay", "visa_or_mastercard", "topping_up_by_card"),
    "billing.refund": ("Refund_not_showing_up", "request_refund"),
    "delivery.tracking": ("card_arrival",),
    "price.fees": ("card_payment_fee_charged", "cash_withdrawal_charge", "exchange_charge", "transfer_fee_charged",
                   "top_up_by_bank_transfer_charge", "top_up_by_card_charge"),
}  # fmt: skip
CLINC = {
    "account.access": ("account_blocked", "pin_change"),
    "account.security": ("report_fraud", "report_lost_card"),
    "booking.process": ("restaurant_reservation", "cancel_reservation", "confirm_reservation", "book_flight",
                        "book_hotel"),
    "delivery.missing": ("lost_luggage",),
    "delivery.tracking": ("order_status",),
    "price.fees": ("international_fees",),
    "service.bot": ("are_you_a_bot",),
}  # fmt: skip
FOREIGN_PARENTS = ("food", "place", "product", "connection")  # that neither corpus speaks of


def topic_of(table: dict[str, tuple[str, ...]], intent: str) -> str | None:
    """The topic that `intent` speaks of, if it speaks of one."""
    return next((topic for topic, intents in table.items() if intent in intents), None)
