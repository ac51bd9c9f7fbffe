"""Every address of the statistics, as tests ask for them."""

#: Lists, with questions that bring several pages of `rows.WALKED`.
LISTS = (
    "items",
    "items?sort=starts_at",
    "items?sort=expires_at&order=desc",
    "items?order=desc",
    "trend?last=40",
    "trend?last=40&mode=accumulative&measure=devices",
    "trend?measure=peak_concurrent&mode=accumulative",
    "series",
    "series?split=feature",
    "series?bucket=day",
    "series?bucket=day&split=feature",
    "series?bucket=day&split=item&last=20",
    "series?bucket=2h&split=project&last=5",
    "series?bucket=slot&split=client&last=2",
    "series?bucket=day&split=late&basis=received&measure=submit",
    "series?bucket=day&measure=new_devices&split=project",
    "series?bucket=day&measure=active_devices&split=item",
    "series?bucket=day&measure=peak_concurrent&basis=received",
    "series?bucket=1h&measure=devices&last=3",
    "series?measure=auth&bucket=1h&last=3",
    "seats",
    "seats?item=seats",
    "denials",
    "denials?last=10",
    "completeness",
)
DETAILS = (
    "time",
    "time&bucket=slot",
    "device",
    "authorization",
    "report",
    "time&basis=received",
    "report&basis=received",
)
SINGLES = ("items/41", "items/41/forecast", "shares", "shares?last=30", "concurrency", "concurrency?last=30")
#: One of each kind, for `300417`.
EACH = (
    "items",
    "items/41",
    "items/41/forecast",
    "shares",
    "trend",
    "days/2031-03-08",
    "series",
    "concurrency",
    "seats",
    "denials",
    "completeness",
)
