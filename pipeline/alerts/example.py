"""A made-up alert, for `vocstream alerts test` and for tests of what receivers are sent."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.alerts import Alert, Driver, Kind, Measure, Series, Status


def example(at: datetime, *, alert_id: str = "", comments: tuple[str, ...] = ()) -> Alert:
    """A spike of late deliveries, fired at `at`."""
    series = Series(tenant="example", dimension="topic", value="delivery.delay", measure=Measure.NEGATIVE)
    return Alert(
        alert_id=alert_id or f"example-{at:%Y%m%d%H%M%S}",
        revision=1,
        status=Status.FIRING,
        kind=Kind.SPIKE,
        series=series,
        members=(series,),
        summary="example: complaints about late delivery rose to 30 % (18 of 60 in 15 min); 6 % is usual. A test.",
        started_at=at - timedelta(minutes=15),
        fired_at=at,
        updated_at=at,
        window_seconds=900,
        unhappy=18,
        n=60,
        share=30.0,
        usual=6.0,
        change_low=12.0,
        change_high=36.0,
        p_value=1e-6,
        q_value=1e-4,
        drivers=(Driver(dimension="touchpoint", value="delivery", contribution=92.0, unhappy=17, n=30, usual=12.0),),
        comments=comments or ("It was a week late.", "Nobody told me why.", "Still waiting for my parcel."),
        sql="SELECT 1",
    )


def resolved(alert: Alert, at: datetime) -> Alert:
    """The same, over at `at`."""
    return alert.model_copy(
        update={"status": Status.RESOLVED, "resolved_at": at, "updated_at": at, "revision": alert.revision + 1}
    )
