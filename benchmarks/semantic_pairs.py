"""Pairs of questions that may share an answer, and pairs that may not: written by hand, and made out of patterns.

`PAIRS` is a list of (question, other, whether they mean the same). Most of those that may not are near in words: the other number, the
other way round, one word that turns the sense.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import Final

Pair = tuple[str, str, bool]

# The same question as people write it twice.
_SAME: Final = """
What is the capital of France? | what is the capital of France
What is the capital of France? | What's the capital of France?
How do I reset my password? | How do I reset my password please?
How do I reset my password? | Hi, how do I reset my password?
How do I reset my password? | Please tell me how do I reset my password
Can I cancel my order? | Can I cancel my order? Thanks
Where is my parcel? | where's my parcel?
Who is the CEO of the company? | Who's the CEO of the company
Why can't I log in? | Why can not I log in?
Why won't it start? | Why will not it start
What are the opening hours today? | What are the opening hours today
Is the shop open now? | Now is the shop open?
What is the weather in Paris today? | Today what is the weather in Paris?
I don't see my invoice | I do not see my invoice.
How long does delivery take? | Hello! How long does delivery take?
What is your refund policy? | What is your refund policy, please?
What is the refund policy? | What is refund policy?
How much does the Pro plan cost? | How much does Pro plan cost?
How many users can I add? | Could you tell me how many users can I add?
Which ports does the server use? | which ports does the server use??
Is there a free trial? | Is there free trial?
How do I export my data as CSV? | How do I export my data as CSV ?
It's broken, what now? | It is broken, what now?
Do you ship to Canada? | Hey, do you ship to Canada?
You're closed on Sunday, right? | You are closed on Sunday, right?
What does error 504 mean? | what does the error 504 mean?
How do I change my email address? | How can I change the email on my account?
What is the price of the Pro plan? | How much is the Pro plan?
How do I delete my account? | What are the steps to delete my account?
Do you deliver on weekends? | Is delivery possible on Saturday and Sunday?
Where can I download the app? | What is the download link for the app?
How can I contact support? | What is the phone number or email of support?
How do I get my money back? | How can I request a refund?
My screen is black, what should I do? | What can I do about a black screen?
"""

# One word turns the sense, or the order does.
_OTHER: Final = """
How do I enable two-factor login? | How do I disable two-factor login?
Can I return an opened product? | Can I return an unopened product?
Convert 100 USD to EUR | Convert 100 EUR to USD
Is it safe to take ibuprofen with aspirin? | Is it unsafe to take ibuprofen with aspirin?
Who did France beat? | Who beat France?
Did Alice pay Bob? | Did Bob pay Alice?
Flights from Berlin to Rome | Flights from Rome to Berlin
Which tools do not need a key? | Which tools do need a key?
Why is the door open? | Why is the door not open?
What can I eat before the test? | What can I eat after the test?
Is the shop open today? | Is the shop open tomorrow?
Do I pay with tax or without tax? | Do I pay without tax or with tax?
Who is older, Ann or Ben? | Who is younger, Ann or Ben?
How do I add a user? | How do I remove a user?
How do I start the server? | How do I stop the server?
How do I log in? | How do I log out?
How do I upload a file? | How do I download a file?
How do I lock the door? | How do I unlock the door?
What is the minimum order? | What is the maximum order?
What is the cheapest plan? | What is the dearest plan?
Which plan includes support? | Which plan excludes support?
Is the first month free? | Is the last month free?
Who wrote Polish stories? | Who wrote polish stories?
What does US law say about us? | What does us law say about US?
Should I say yes? | Should I say no?
Is a dog allowed, not a cat? | Is a cat allowed, not a dog?
Can minors buy this? | Can adults buy this?
How do I mute a caller? | How do I unmute a caller?
Is payment due before delivery? | Is delivery due before payment?
Will it rain only today? | Will it only rain today?
Is it free today, not tomorrow? | Is it free tomorrow, not today?
Are all rooms heated? | Are some rooms heated?
Are any seats left? | Are no seats left?
What happens if I sign? | What happens unless I sign?
Must I sign it? | May I sign it?
Can I park in front of the gate? | Can I park behind the gate?
What is vitamin A good for? | What is vitamin C good for?
Is C faster than Java? | Is C++ faster than Java?
What is x < 5? | What is x > 5?
What is 7 - 3? | What is 7 + 3?
Can she see him? | Can he see her?
Is the Who older than the band? | Who is older than the band?
"""

_NUMBERS: Final = ("3", "30", "13", "3.5", "-3")
_COUNTED: Final = (
    "Can I return it within {} days?",
    "What is the fee for {} transactions?",
    "How do I store {} litres?",
    "Is a dose of {} mg too much?",
)
_TURNED: Final = (
    ("How do I {} the alarm?", ("arm", "disarm", "test")),
    ("How do I {} notifications?", ("enable", "disable", "filter")),
    ("Is it {} to swim here?", ("legal", "illegal", "possible", "impossible")),
    ("How do I {} access to a folder?", ("grant", "deny", "revoke", "request")),
    ("Does the price go {} in winter?", ("up", "down", "away")),
    ("When did sales {}?", ("rise", "fall", "peak")),
)
_PAIRED: Final = (
    ("How do I travel from {} to {}?", (("Oslo", "Bergen"), ("Lyon", "Nice"), ("London", "Leeds"), ("Graz", "Linz"))),
    ("Is {} heavier than {}?", (("gold", "lead"), ("oil", "water"), ("iron", "zinc"))),
    ("Did {} sue {}?", (("Apple", "Samsung"), ("Oracle", "Google"), ("Sony", "Sega"))),
    ("Convert 5 {} into {}", (("miles", "km"), ("pounds", "kg"), ("Celsius", "Fahrenheit"))),
    ("Replace {} by {} in the recipe", (("butter", "oil"), ("milk", "water"), ("sugar", "honey"))),
)
_NAMED: Final = (
    ("Where is the office in {}?", ("Paris", "Prague", "Porto", "Perth")),
    ("What did {} say about prices?", ("Anna", "Hanna", "Johanna")),
    ("What changed in version {}?", ("1.2", "1.20", "12", "2.1")),
)
_POLITE: Final = ("{}", "Please, {}", "Hello, {}", "{} Thanks", "Could you tell me {}")
_ASKED: Final = ("Which cards do you take?", "What does a licence cost?", "When does the sale end?", "How do I update the app?",
    "Where do I find my invoice?")  # fmt: skip


def _lines(text: str, same: bool) -> list[Pair]:  # noqa: FBT001 - what the pairs are
    return [
        (one.strip(), other.strip(), same)
        for one, _, other in (line.partition("|") for line in text.split("\n") if line)
    ]


def _made() -> list[Pair]:
    out: list[Pair] = []
    for pattern in _COUNTED:
        out += [(pattern.format(a), pattern.format(b), False) for a, b in combinations(_NUMBERS, 2)]
    for pattern, words in (*_TURNED, *_NAMED):
        out += [(pattern.format(a), pattern.format(b), False) for a, b in combinations(words, 2)]
    for pattern, pairs in _PAIRED:
        out += [(pattern.format(a, b), pattern.format(b, a), False) for a, b in pairs]
    for asked, (one, other) in product(_ASKED, combinations(_POLITE, 2)):
        out.append((one.format(asked), other.format(asked), True))
    return out


PAIRS: Final[list[Pair]] = [*_lines(_SAME, True), *_lines(_OTHER, False), *_made()]
