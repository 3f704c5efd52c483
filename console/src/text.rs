//! Every sentence that people read, in English. Another language is another file with the same names: a missing name or
//! argument does not compile.

#![allow(
    missing_docs,
    clippy::must_use_candidate,
    reason = "each name stands beside what it says, and a sentence is made to be shown"
)]

pub const PRODUCT: &str = "Tributary";
pub const PRODUCT_IN_WORDS: &str = "Referrals and rewards that add up.";
pub const SKIP: &str = "Skip to the content";
pub const MENU: &str = "Menu";
pub const MAIN_MENU: &str = "Main";
pub const HOME: &str = "Go to the start";
pub const YOUR_PROGRAMS: &str = "Your programs";
pub const YOUR_REWARDS: &str = "Your rewards";
pub const YOUR_ACCOUNT: &str = "Your account";
pub const SIGN_IN: &str = "Sign in";
pub const SIGN_OUT: &str = "Sign out";
pub const THEME: &str = "Theme";
pub const THEME_SYSTEM: &str = "Auto";
pub const THEME_LIGHT: &str = "Light";
pub const THEME_DARK: &str = "Dark";
pub const AS_A_TABLE: &str = "Show as a table";
pub const PERIOD: &str = "Period";
pub const ERASED_USER: &str = "Erased user";
pub const TRY_AGAIN: &str = "Try again";

/// The label of an amount, which names its unit.
pub fn in_unit(label: &str, unit: &str) -> String {
    format!("{label} in {unit}")
}

/// A choice of a program, with its unit.
pub fn with_unit(name: &str, unit: &str) -> String {
    format!("{name} ({unit})")
}
pub const NEXT_PAGE: &str = "Next page";
pub const TO_THE_FIRST: &str = "First page";
pub const COULD_NOT_BE_READ: &str = "This could not be read";
pub const PARTICIPANT: &str = "Participant";
pub const OPERATOR: &str = "Operator";
pub const ADMIN: &str = "Admin";
pub const ACCOUNT: &str = "Account";
pub const VISITS: &str = "Visits";
pub const SIGN_UPS: &str = "Sign-ups";
pub const CONVERSIONS: &str = "Conversions";
pub const VISITS_WORDS: &str = "A visit is somebody who opens a link to this site, once a day. \
    Sign-ups are those that count: not those that are held or were rejected.";

/// How much of a list is shown, where it has other pages.
pub fn on_this_page(count: &str) -> String {
    format!("{count} on this page")
}

pub fn fields_need_another_look(fields: usize) -> String {
    match fields {
        1 => "One field needs another look.".into(),
        _ => format!("{fields} fields need another look."),
    }
}

/// What the script says, as JSON.
pub fn words_of_script() -> &'static str {
    "{\"copied\":\"Copied\",\"failed\":\"No answer came. Check the connection and send it \
      again: it cannot happen twice.\",\
      \"open\":\"Live\",\"waiting\":\"Connecting…\",\"closed\":\"Signed out\",\"dismiss\":\"Dismiss\"}"
}

/// What has just been done, by the name in the address.
pub fn done(name: &str) -> Option<&'static str> {
    Some(match name {
        "saved" => "Saved.",
        "email" => "We have sent a mail to the new address. Open its link to confirm the change.",
        "confirmation" => {
            "A mail with the link is on its way to your address, unless you had several in the last hour."
        }
        "password" => "Your password is changed. All other sessions have ended.",
        "session" => "The session has ended.",
        "redeemed" => "It is yours. You find it below.",
        "welcome" => "Welcome! Your account is ready.",
        "joined" => "You take part now.",
        "recorded" => "The purchase is recorded.",
        "refunded" => "The refund is recorded.",
        "dispute-opened" => "The dispute is recorded. What is disputed is held back until it ends.",
        "dispute-changed" => "The amount of the dispute is changed.",
        "dispute-closed" => "The end of the dispute is recorded.",
        "deactivated" => "Deactivated: nothing is earned from now on.",
        "reactivated" => "Active again.",
        "role" => "The role is changed. All sessions of the person have ended.",
        "erased" => "The account is erased.",
        "attached" => "Noted. What could be recorded is recorded.",
        "seen" => "Taken off the list, until it says something else.",
        "mailed" => "The mail is sent again.",
        "revoked" => "The key is revoked. Nothing can be done with it any more.",
        "retried" => "The job is tried again.",
        "published" => "Published. It is in force now.",
        "released" => "Released: the referral counts.",
        "rejected" => "Rejected: the referral does not count.",
        "rejected-deactivated" => "Rejected, and the person is deactivated.",
        "payout-created" => "The payout is created, and collects what is available.",
        "payout-decided" => "Noted.",
        "asked" => "Asked for. Somebody else has to approve it.",
        "approved" => "Approved and done.",
        "declined" => "Declined: it is not done.",
        "reward-held" => "Held: what is left of the reward is pending.",
        "reward-released" => "Released: what is left of the reward is available.",
        "adjusted" => "The balance is adjusted.",
        "item-published" => "The store has it like this from now on.",
        "fulfilled" => "Noted: it was handed over.",
        "cancelled" => "Cancelled: what was paid is given back.",
        "sample" => "Sample people are on their way. Watch the numbers grow.",
        _ => return None,
    })
}

/// Pages in place of those that cannot be shown.
pub mod refused {
    pub const NOT_FOUND: &str = "There is nothing here";
    pub const NOT_FOUND_WORDS: &str =
        "The address may be mistyped, or what was here belongs to somebody else.";
    pub const DENIED: &str = "This is not for you";
    pub const DENIED_WORDS: &str = "Your account is not allowed to see or do this.";
    pub const FORGED: &str = "This form has grown old";
    pub const FORGED_WORDS: &str =
        "This time nothing was changed. Go back, reload the page, and send the form again.";
    pub const ELSEWHERE: &str = "This was not sent from here";
    pub const ELSEWHERE_WORDS: &str = "Nothing was changed: the form was on another site, or your \
        browser does not say where it was.";
    pub const TOO_LARGE: &str = "That was too much";
    pub const TOO_LARGE_WORDS: &str =
        "A form may have 64 KiB at most. Nothing was changed. Send it with shorter texts.";
    pub const TOO_SLOW: &str = "This did not arrive in time";
    pub const TOO_SLOW_WORDS: &str = "Only a part of the form has arrived, so nothing was changed. \
        Send it again.";
    pub const TOO_MANY: &str = "Too many requests";
    pub const TOO_MANY_WORDS: &str = "Wait a moment, and try again.";
    pub const UNAVAILABLE: &str = "Not now";
    pub const UNAVAILABLE_WORDS: &str =
        "The server cannot reach its database at this moment. Try again in a few seconds.";
    pub const UNKNOWN: &str = "It is not known whether this was done";
    pub const UNKNOWN_WORDS: &str = "No answer came in time. Press the button in a few seconds. It \
        sends the same form again, and what was done already is not done a second time.";
    pub const UNKNOWN_IF_SENT_AGAIN: &str = "No answer came in time. Press the button in a few \
        seconds. It sends the same form again.";
    pub const TOO_MANY_SENT: &str = "Wait a moment, then press the button. It sends the same form \
        again, with all that you entered.";
    pub const PASSWORD: &str = "Password";
    pub const OLD_PASSWORD: &str = "Present password";
    pub const NEW_PASSWORD: &str = "New password";
    pub const CODE: &str = "Code of your app";
    pub const BROKEN: &str = "Something is broken here";
    pub const BROKEN_WORDS: &str = "The fault is ours, and it has been logged. Try again; if that \
        does not help, tell the operator.";
}

/// Why something could not be done.
pub mod faults {
    use contract::pb::ErrorReason;

    pub const LOGIN: &str = "The e-mail address or username, or the password, is wrong.";
    pub const AGAIN: &str = "No clear answer came. Try again in a moment; it cannot happen twice.";

    /// What a reason means for whoever has sent the form; `None` if there is nothing better than [`AGAIN`].
    #[expect(clippy::too_many_lines, reason = "one line for each reason")]
    pub fn reason(reason: ErrorReason) -> Option<&'static str> {
        use ErrorReason as R;
        Some(match reason {
            R::LoginFailed => LOGIN,
            R::MailNotFound => "This mail is not kept any more.",
            R::MailNotParked => "This mail is on its way already.",
            R::ApiKeyNotFound => "There is no such key.",
            R::ApiKeyAlreadyRevoked => "This key is revoked already.",
            R::TooManyApiKeys => "This user has as many keys as a user can have.",
            R::ProgramChanged => {
                "Somebody else has published this program meanwhile. Look at what has changed."
            }
            R::UnitIsFixed => "The unit of a program stays as it was in its first version.",
            R::TooManyVersions => "This program has as many versions as a program can have.",
            R::TooManyDefaultPrograms => "Sign-ups without a code enter too many programs already.",
            R::PayoutOfCredits => {
                "Purchases were credited in an earlier version, so that this program cannot pay out."
            }
            R::SecondFactorRequired => {
                "Your account has a second factor. Enter the code that your app shows now."
            }
            R::SecondFactorWrong => {
                "This code is wrong, or was used already. Wait for the next one."
            }
            R::TooManyFailures => {
                "There were too many failed attempts. Wait a little before the next one."
            }
            R::RateLimited | R::QueueFull | R::TooManyRequests => {
                "The server is busy. Wait a moment, and try again."
            }
            R::TooManySignUps => {
                "Too many people have signed up from your network today. Try again tomorrow."
            }
            R::SelfRegistrationClosed => {
                "One cannot sign up here by oneself. Ask whoever runs this server."
            }
            R::UsernameTaken => "Somebody else has this username. Choose another one.",
            R::EmailTaken => {
                "There is an account with this address already. Sign in, or choose another password."
            }
            R::ReferralCodeNotFound => "There is no such code. Check it, or leave it out.",
            R::CodeExhausted | R::ReferrerLimitReached => {
                "This code has no place left. Leave it out, or ask for another one."
            }
            R::UserNotFound => "There is no such user.",
            R::ProgramNotFound => "There is no such program.",
            R::ParticipantNotFound => "This user is not in the program.",
            R::PurchaseNotFound => "There is no such purchase.",
            R::SessionNotFound => "This session has ended already.",
            R::PurchaseIdReused => "There is another purchase with this id.",
            R::RefundIdReused => "There is another refund with this id.",
            R::DisputeNotFound => "There is no such dispute about this purchase.",
            R::DisputeExceedsPurchase => "That is more than the price of the purchase.",
            R::DisputeAlreadyClosed => "This dispute has ended already.",
            R::TooManyDisputes => "There are as many disputes about this purchase as there can be.",
            R::RefundExceedsPurchase => "That is more than what is left of the purchase.",
            R::CurrencyMismatch => "The purchase was paid in another currency.",
            R::TooManyRefunds => "This purchase has as many refunds as there can be.",
            R::ItemNotFound | R::ItemNotAvailable => "This item cannot be had any more.",
            R::ItemCostChanged => "This item costs something else by now. Look at it again.",
            R::PaymentNotFound => "Nothing was told about such a payment.",
            R::PaymentRecorded => {
                "The payment is recorded as a purchase of somebody else, and stays so."
            }
            R::JobNotFound | R::JobNotParked => "This job is done, or is tried again already.",
            R::FraudFlagNotFound => "There is no such flag any more.",
            R::FraudFlagWithoutUser => "There is no account that could be deactivated.",
            R::ApprovalNotFound => "There is no such request.",
            R::ApprovalDecided => "Somebody has decided about this already.",
            R::SelfApproval => "Somebody else has to approve this.",
            R::PayoutNotFound | R::PayoutLineNotFound => "There is no such payout or line.",
            R::PayoutIdReused => "There is another payout with this id.",
            R::PayoutUnsettled => "The payout is being confirmed or failed. Wait until it is done.",
            R::PayoutCollecting => "A payout of this program is collecting. Wait until it is done.",
            R::PayoutsOff => "This program does not pay out.",
            R::PayoutDecided => "Somebody has decided about the whole payout already.",
            R::PayoutLineDecided => "Somebody has decided about this line already.",
            R::OwnPayoutLine => {
                "A line is your own, so another operator has to say what became of it."
            }
            R::PayoutAwaitsApproval => "This waits for an approval already.",
            R::BalanceLimitReached => "The balance would become larger than balances can be.",
            R::RewardNotFound => "There is no such reward.",
            R::AdjustmentIdReused => "There is another adjustment with this id.",
            R::RedemptionNotFound => "There is no such redemption.",
            R::RedemptionFulfilled => "This was handed over already.",
            R::RedemptionCancelled => "This was cancelled already.",
            R::StockBelowTaken => "More pieces than that are redeemed already.",
            R::TooManyItems => "The store is full. Change an item instead of adding one.",
            R::TierNotFound => "The program has no such tier.",
            R::OutOfStock => "Somebody was faster: this item is sold out.",
            R::ItemLimitReached => "You have as many of this item as one person can have.",
            R::TierTooLow => "This item needs a higher tier.",
            R::InsufficientBalance => "That costs more than what is available to you.",
            R::BalanceOwed => {
                "Something is still owed to you. Tick the box to give it up, or have it paid out first."
            }
            R::UserAlreadyInactive => "This user is deactivated already.",
            R::UserAlreadyActive => "This user is active already.",
            R::UserRoleUnchanged => "The user has this role already.",
            R::UserInactive => "Your account is deactivated.",
            R::AlreadyReferred => "You have a referrer in this program already.",
            R::SelfReferral => "This code is your own.",
            R::ReferralCycle => "The owner of this code came through you.",
            R::PermissionDenied => "Your account is not allowed to do this.",
            R::RequestIdReused => "This form was sent before, with other content. Reload the page.",
            R::Conflict => "Somebody else has just changed the same. Look at it again, and repeat.",
            R::DatabaseUnavailable
            | R::ReadModelBehind
            | R::ReadModelBuilding
            | R::ShuttingDown => {
                "The server cannot answer at the moment. Try again in a few seconds; it cannot happen twice."
            }
            R::Unspecified
            | R::InvalidField
            | R::MalformedMessage
            | R::MessageTooLarge
            | R::UnknownMethod
            | R::UnsupportedCompression
            | R::InvalidTimeout
            | R::HeadersTooLarge
            | R::FieldRequired
            | R::FieldTooLong
            | R::InvalidId
            | R::InvalidEmail
            | R::InvalidUsername
            | R::InvalidDisplayName
            | R::WeakPassword
            | R::InvalidReferralCode
            | R::InvalidCurrency
            | R::AmountNotPositive
            | R::AmountTooLarge
            | R::AmountIsZero
            | R::InvalidReasonCode
            | R::InvalidNote
            | R::TimeInFuture
            | R::InvalidTime
            | R::InvalidTimeZone
            | R::InvalidUrl
            | R::AmountNotPayable
            | R::InvalidIpAddress
            | R::InvalidPageSize
            | R::InvalidPageToken
            | R::InvalidResumeToken
            | R::InvalidProgram
            | R::FieldsExclusive
            | R::NulCharacter
            | R::UnsupportedField
            | R::InvalidConsistencyToken
            | R::OutOfRange
            | R::UnknownEventType
            | R::UnknownRpc
            | R::PasswordWithoutUpper
            | R::PasswordWithoutLower
            | R::PasswordWithoutDigit
            | R::PasswordWithoutSpecial
            | R::RefundNotFound
            | R::ProgramVersionNotFound
            | R::MailedTokenUnknown
            | R::UserIdTaken
            | R::AlreadyEnrolled
            | R::RedemptionIdReused
            | R::ReferralFlagged
            | R::ReferralTooLate
            | R::AlreadyBought
            | R::TooManyPrograms
            | R::NoTiers
            | R::TooManyReferrals
            | R::AddressUsedBefore
            | R::ReferralNotHeld
            | R::ReferralUnconfirmed
            | R::MailedTokenExpired
            | R::MailedTokenUsed
            | R::SecondFactorOn
            | R::SecondFactorOff
            | R::SigningKeyNotKept
            | R::SlowConsumer
            | R::TooManyStreams
            | R::RequestIncomplete
            | R::MissingCredentials
            | R::InvalidCredentials
            | R::CredentialsEnded
            | R::ProviderNotConfigured
            | R::ProviderRefused
            | R::ProviderUnavailable
            | R::TokenAheadOfLog
            | R::TokenOfOldEpoch
            | R::DeadlineExceeded
            | R::PayoutPending
            | R::Internal => return None,
        })
    }

    /// What is wrong with a field, by its reason; `None` if what the API says is to be shown.
    pub fn field(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "FIELD_REQUIRED" => "This is needed.",
            "FIELD_TOO_LONG" => "This is too long.",
            "INVALID_EMAIL" => "This is no e-mail address.",
            "INVALID_USERNAME" => {
                "Usernames have letters, digits, dots, hyphens and underscores, and begin with a letter or digit."
            }
            "INVALID_DISPLAY_NAME" => "This name has characters that cannot be shown.",
            "INVALID_NOTE" => "This has characters that cannot be shown, or more than one line.",
            "INVALID_REFERRAL_CODE" => "This is no code.",
            "INVALID_CURRENCY" => "Write the code of a currency, such as USD.",
            "AMOUNT_NOT_POSITIVE" => "The amount must be more than zero.",
            "AMOUNT_IS_ZERO" => "Write an amount other than 0.",
            "AMOUNT_TOO_LARGE" => "The amount is too large.",
            "TIME_IN_FUTURE" => "This time has not come yet.",
            "INVALID_REASON_CODE" => {
                "Codes have 1 to 64 lower-case letters, digits, hyphens and underscores."
            }
            "OUT_OF_RANGE" => "This number is too small or too large.",
            "INVALID_TIME" => "This is no time.",
            "UNKNOWN_EVENT_TYPE" => "There is no such event.",
            "NUL_CHARACTER" => "This has a character that cannot be stored.",
            _ => return None,
        })
    }

    pub const NO_AMOUNT: &str = "Write an amount, such as 12.50, with no more decimals than the \
        currency has, and nothing between thousands.";
    pub const NOT_THE_USERNAME: &str = "This is not the username of the account.";
    pub const NO_NUMBER: &str = "Write a whole number, or leave it empty.";
    pub const NO_DAY: &str = "Choose a day that is over.";
    pub const NO_MONTH: &str = "Choose a month, as in 2026-05.";
    pub const NO_MONTH_TO_COME: &str = "This month has not begun. Choose an earlier one.";
    pub const NO_DAY_TO_COME: &str = "Choose a day.";
}

pub mod password {
    pub fn at_least(chars: usize) -> String {
        format!("at least {chars} characters")
    }
    pub const UPPER: &str = "a capital letter";
    pub const LOWER: &str = "a small letter";
    pub const DIGIT: &str = "a digit";
    pub const SPECIAL: &str = "something else than letters and digits";
    /// Patterns of JavaScript that the rules stand for.
    pub const UPPER_PATTERN: &str = r"\p{Uppercase}";
    pub const LOWER_PATTERN: &str = r"\p{Lowercase}";
    pub const DIGIT_PATTERN: &str = r"\p{N}";
    pub const SPECIAL_PATTERN: &str = r"[^\p{Alphabetic}\p{N}]";
}

pub mod door {
    pub const WELCOME: &str = "Welcome";
    pub const WELCOME_WORDS: &str = "See what you have earned, and whom you have brought.";
    pub const CREATE_ACCOUNT: &str = "Create an account";
    pub const FOR_PROGRAMS: &str = "For programs";
    pub const API_WORDS: &str = "This port also speaks gRPC and gRPC-Web. Reflection is on, so \
        tools such as grpcurl can list the methods.";
    pub const HEALTH_WORDS: &str = "Whether the server is alive and ready:";
    pub const TO_THE_FRONT: &str = "To the start";
    pub const SIDE_TITLE: &str = "Bring friends, and both of you gain";
    pub const SIDE_WORDS: &str =
        "Every referral, every purchase and every reward, to the cent and as it happens.";
    pub const SIDE_SHARE: &str = "Share your code";
    pub const SIDE_SHARE_WORDS: &str = "By a link, a QR code or a message.";
    pub const SIDE_EARN: &str = "Watch it grow";
    pub const SIDE_EARN_WORDS: &str = "Your balance changes in the moment when somebody buys.";
    pub const LOGIN: &str = "E-mail address or username";
    pub const PASSWORD: &str = "Password";
    pub const NEW_PASSWORD: &str = "New password";
    pub const SECOND_FACTOR_CODE: &str = "Code of the second factor";
    pub const SECOND_FACTOR_HINT: &str = "The six digits that your app shows, or a recovery code.";
    pub const NO_ACCOUNT: &str = "No account yet?";
    pub const CREATE_ONE: &str = "Create one";
    pub const HAVE_ACCOUNT: &str = "You have one already?";
    pub const FORGOT: &str = "Forgot the password?";
    pub const DISPLAY_NAME: &str = "Your name";
    pub const DISPLAY_NAME_HINT: &str = "As others see it. You can leave it out.";
    pub const USERNAME: &str = "Username";
    pub const USERNAME_HINT: &str = "To sign in with.";
    pub const EMAIL: &str = "E-mail address";
    pub const CODE: &str = "Referral code";
    pub const CODE_HINT: &str = "If somebody invited you.";
    pub const INVITATION_WORDS: &str = "Sign up with this invitation, and start to earn.";
    pub const YOUR_FRIEND: &str = "Your friend";
    pub const OWN_CODE: &str = "You get a code of your own";
    pub const OWN_CODE_WORDS: &str = "With it you bring others. How it works in full stands on its \
        own page, once you have signed up.";
    pub const PLACES_WORDS: &str = "This code is good for a limited number of people.";
    pub const REGISTRATION_CLOSED: &str =
        "One cannot sign up here by oneself. Ask whoever runs this server.";
    pub const CHECK_MAIL: &str = "Check your mail";
    pub const CHECK_MAIL_WORDS: &str = "We have sent a link to your address. Open it, and your \
        account is ready. The link is good for some days.";
    pub const FORGOT_TITLE: &str = "Choose another password";
    pub const FORGOT_WORDS: &str = "We mail you a link with which you choose another one.";
    pub const FORGOT_DONE: &str = "If there is such an account, a mail with a link is on its way. \
        The link is good for a few minutes.";
    pub const SEND_MAIL: &str = "Send the mail";
    pub const CONFIRM: &str = "Confirm";
    pub const SET_PASSWORD: &str = "Set the password";
    pub const ENDED: &str = "Your session has ended. Sign in again to go on.";
    pub const SIGNED_OUT: &str = "You have signed out.";
    pub const LINK_USED: &str = "This link was used already, or has expired. Sign in with a password, or start the \
         server again for another link.";
    pub const ERASED: &str = "Your account is erased.";

    pub fn invitation_to(program: &str) -> String {
        if program.is_empty() {
            INVITATION_WORDS.into()
        } else {
            format!("Sign up with this invitation to “{program}”. This is what it brings:")
        }
    }

    pub fn invited_by(name: &str) -> String {
        if name.is_empty() { "You are invited".into() } else { format!("{name} invites you") }
    }

    pub fn code_is_bad(reason: contract::pb::CodeInvalidReason) -> &'static str {
        use contract::pb::CodeInvalidReason as R;
        match reason {
            R::Unknown => "There is no such code. You can sign up without it.",
            R::Exhausted => "This invitation has no place left. You can sign up without it.",
            R::Unspecified
            | R::BalanceLimitReached
            | R::UserInactive
            | R::TooManyPrograms
            | R::OwnCode
            | R::AlreadyBought
            | R::AlreadyReferred
            | R::TooLate
            | R::Cycle
            | R::AddressUsedBefore => "This invitation cannot be used. You can sign up without it.",
        }
    }

    pub fn places_left(places: i32) -> String {
        match places {
            1 => "One place left".into(),
            _ => format!("{places} places left"),
        }
    }
}

pub mod participant {
    use contract::pb::Money;

    pub const DASHBOARD: &str = "Dashboard";
    pub const EARNINGS: &str = "Earnings";
    pub const REFERRALS: &str = "Referrals";
    pub const TREE: &str = "Tree";
    pub const LEADERBOARD: &str = "Leaderboard";
    pub const STORE: &str = "Rewards store";
    pub const RULES: &str = "How it works";
    pub const PROFILE: &str = "Profile";
    pub const BALANCE_AND_LINK: &str = "Balance and link";
    pub const COUNTERS: &str = "Counters";
    pub const AVAILABLE_TO_YOU: &str = "Available to you";
    pub const EARNED: &str = "Earned by rewards";
    pub const ON_ITS_WAY: &str = "On its way";
    pub const AVAILABLE: &str = "Available";
    pub const SET_ASIDE: &str = "Set aside";
    pub const PAID_OUT: &str = "Paid out";
    pub const SPENT: &str = "Spent";
    pub const CREDITED: &str = "Own purchases";
    pub const YOUR_CODE: &str = "Your code is";
    pub const SHARE_YOUR_LINK: &str = "Share your link";
    pub const SHARE: &str = "Share";
    pub const COPY: &str = "Copy";
    pub const COPY_CODE: &str = "Copy the code";
    pub const BY_MAIL: &str = "By e-mail";
    pub const QR_OF_LINK: &str = "QR code of your link";
    pub const REFERRED: &str = "Referred";
    pub const PENDING: &str = "Pending";
    pub const HELD: &str = "Held";
    pub const CONVERTED: &str = "Converted";
    pub const REJECTED: &str = "Rejected";
    pub const NOT_REFERRED: &str = "Not referred";
    pub const RANK: &str = "Rank";
    pub const ON_THE_LEADERBOARD: &str = "on the leaderboard";
    pub const NO_LIMIT: &str = "as many as you like";
    pub const NOBODY_YET: &str = "nobody yet";
    pub const HAVE_NOT_CONVERTED: &str = "have not converted yet";
    pub const DEACTIVATED: &str = "This account is deactivated: it earns nothing at present.";
    pub const EARNED_BY_DAY: &str = "Earned by day";
    pub const LAST_DAYS: &str = "The last 30 days, all levels";
    pub const EARNED_BY_WEEK: &str = "Earned by week";
    pub const LAST_WEEKS: &str = "The last 12 weeks, all levels";
    pub const ALL_EARNINGS: &str = "All earnings";
    pub const WHAT_HAPPENED: &str = "What happened";
    pub const NOTHING_HAPPENED: &str = "Nothing has happened yet";
    pub const NOTHING_HAPPENED_WORDS: &str = "Share your link. Here you see who joins, and what \
        each purchase brings, in the moment it happens.";
    pub const FUNNEL: &str = "From link to reward";
    pub const STILL_TO_EARN: &str = "What you can still earn";
    pub const HIGHEST_TIER: &str = "This is the highest tier.";
    pub const EARNINGS_WORDS: &str = "Everything that moved your balance, and why.";
    pub const CSV: &str = "Download as CSV";
    pub const AT_PRESENT: &str = "At present";
    pub const PRESENT: &str = "Back to the present";
    pub const AS_OF_DAY: &str = "As of the end of a day";
    pub const SHOW: &str = "Show";
    pub const BY_LEVEL: &str = "By level";
    pub const BY_PERSON: &str = "By person";
    pub const LEDGER: &str = "Ledger";
    pub const NOTHING_EARNED: &str = "Nothing has been earned yet";
    pub const NOTHING_EARNED_WORDS: &str =
        "The first reward is listed here in the moment it is granted.";
    pub const WHEN: &str = "When";
    pub const WHAT: &str = "What";
    pub const PART: &str = "Part";
    pub const AMOUNT: &str = "Amount";
    pub const BALANCE: &str = "Balance";
    pub const REWARD: &str = "Reward";
    pub const POINTS: &str = "Points";
    pub const CREDITS: &str = "Credits";
    pub const BONUS: &str = "Bonus";
    pub const COMMISSION: &str = "Commission";
    pub const OWN_PURCHASE: &str = "Your own purchase";
    pub const TAKEN_BACK: &str = "Taken back";
    pub const TAKEN_BACK_WORDS: &str = "the purchase was refunded or disputed";
    pub const TAKEN_BACK_REFERRAL: &str = "a referral does not count any more";
    pub const REDEEMED: &str = "Redeemed in the store";
    pub const ADJUSTED: &str = "Adjusted";
    pub const EXPIRED: &str = "Expired";
    pub const EXPIRED_WORDS: &str = "it was not used in time";
    pub const RELEASED: &str = "Became available";
    pub const HELD_BACK: &str = "Held back";
    pub const RESERVED: &str = "Set aside for a payout";
    pub const UNRESERVED: &str = "Back from a payout";
    pub const MOVED: &str = "Moved";
    pub const OTHERS: &str = "Everybody else";
    pub const OF_PRESENT: &str = "At present, whatever day is chosen above";
    pub const COUNTED: &str = "one for each referral";
    pub const BY_TIER: &str = "by your tier";
    pub const BY_FORMULA: &str = "what this friend adds to your points in all: friends × the points for \
        each in your tier, and what that tier gives at once";
    pub const SOMEBODY: &str = "Somebody";
    pub const REFERRALS_WORDS: &str = "The people who came by your code, the newest first.";
    pub const AS_A_TREE: &str = "As a tree";
    pub const AS_A_LIST: &str = "As a list";
    pub const STATUS: &str = "Status";
    pub const ALL: &str = "All";
    pub const NAME: &str = "Name";
    pub const SINCE: &str = "Since";
    pub const BROUGHT_IN: &str = "Brought you";
    pub const ACTIVE: &str = "active";
    pub const NOT_ACTIVE: &str = "not active";
    pub const NOBODY_REFERRED: &str = "Nobody has come by your code yet";
    pub const NOBODY_REFERRED_WORDS: &str = "Send your link to somebody who would like this.";
    pub const NOBODY_IN_STATUS: &str = "Nobody";
    pub const NOBODY_IN_STATUS_WORDS: &str = "None of your referrals has this status.";
    pub const TREE_WORDS: &str = "The people below you. Green is active; a red ring is not.";
    pub const TREE_TRUNCATED: &str =
        "There are more people below you than one page can show: these are the nearest.";
    pub const YOU: &str = "You";
    pub const NOBODY_RANKED: &str = "Nobody is on the board yet";
    pub const NOT_RANKED: &str = "You have no place yet: you get one with what counts here.";
    pub const NOBODY_RANKED_WORDS: &str = "Be the first: share your link.";
    pub const STORE_WORDS: &str = "Turn what you have earned into something nice.";
    pub const ITEMS: &str = "Items";
    pub const NO_ITEMS: &str = "The store is empty";
    pub const NO_ITEMS_WORDS: &str =
        "There is nothing to redeem at present. What you have earned stays yours.";
    pub const REDEEM: &str = "Redeem";
    pub fn spend(amount: &str) -> String {
        format!("Spend {amount}")
    }
    pub const SOLD_OUT: &str = "Sold out";
    pub const COME_BACK: &str = "Come back later";
    pub const REDEEMED_SO_FAR: &str = "What you have redeemed";
    pub const NOTHING_REDEEMED: &str = "Nothing redeemed yet";
    pub const NOTHING_REDEEMED_WORDS: &str =
        "What you choose is listed here, with what has become of it.";
    pub const COST: &str = "Cost";
    pub const ORDERED: &str = "On its way";
    pub const DELIVERED: &str = "Delivered";
    pub const CANCELLED: &str = "Cancelled";
    pub const JOIN_PROGRAM: &str = "Join a program";
    pub const PROGRAMS_WORDS: &str = "Join one of these, with a code if somebody gave you one.";
    pub const NO_PROGRAM_LEFT: &str = "There is no other program";
    pub const NO_PROGRAM_LEFT_WORDS: &str = "You take part in all that there are. Come back later.";
    pub const JOIN: &str = "Join";
    pub const CODE: &str = "Referral code, if you have one";

    /// What was earned is what was granted, less what was taken back.
    pub fn granted_and_taken_back(granted: &str, taken_back: &str) -> String {
        format!("{granted} granted, {taken_back} taken back")
    }
    pub fn greeting(name: &str) -> String {
        format!("Hello, {name}")
    }
    pub fn shared_with(program: &str) -> String {
        format!("Join me in “{program}”:")
    }
    pub fn of_places(places: &str) -> String {
        format!("of {places} at most")
    }
    pub fn no_place_left(places: &str) -> String {
        format!(
            "Your code has no place left: {places} people have come by it, or are about to. Nobody else can."
        )
    }
    pub fn more_below(count: i32) -> String {
        if count == 1 {
            "1 more below, not shown".into()
        } else {
            format!("{count} more below, not shown")
        }
    }
    pub fn of_those_referred(percent: i64) -> String {
        format!("{percent}% of those referred")
    }
    pub fn also_held(count: i32) -> String {
        format!("and {count} held for a check")
    }
    pub fn points_each(points: i64) -> String {
        format!("{points} points for each referral")
    }
    pub fn next_from(tier: &str, referrals: i32) -> String {
        format!("{tier} from {referrals} referrals")
    }
    pub fn so_many_of(count: &str, of: &str) -> String {
        format!("{count} of {of}")
    }
    pub fn level(level: i32) -> String {
        match level {
            0 => "Yourself".into(),
            _ => format!("Level {level}"),
        }
    }
    pub fn level_in_words(level: i32) -> String {
        match level {
            0 => "Yourself".into(),
            1 => "Level 1, people you referred".into(),
            2 => "Level 2, people they referred".into(),
            _ => format!("Level {level}"),
        }
    }
    pub fn left(amount: &str, unit: &str) -> String {
        format!("{amount} {unit} left")
    }
    pub fn has_joined(name: &str) -> String {
        format!("{name} has joined.")
    }
    pub fn has_converted(name: &str) -> String {
        format!("{name} has converted.")
    }
    pub fn is_held(name: &str) -> String {
        format!("{name} has joined; the referral is held for a check.")
    }
    pub fn was_rejected(name: &str) -> String {
        format!("The referral of {name} was rejected.")
    }
    pub fn reward(kind: &str, level: i32) -> String {
        match level {
            0 => format!("{kind} for you"),
            _ => format!("{kind}, level {level}"),
        }
    }
    pub fn rate_of_purchase(percent: &str) -> String {
        format!("{percent} of a purchase")
    }
    pub fn flat(amount: &str) -> String {
        format!("a fixed amount of {amount}")
    }
    pub fn available_changed(sign: &str, amount: &str) -> String {
        format!("{sign}{amount} available")
    }
    pub fn balance_after(balance: &str) -> String {
        format!("Balance {balance}")
    }
    pub fn one_in_tier(tier: &str) -> String {
        format!("for one friend in the tier {tier}")
    }
    /// The formula of tiers: friends × points for each + what the tier gives at once.
    pub fn tier_sum(friends: &str, each: &str, at_once: &str, points: &str) -> String {
        format!("{friends} × {each} + {at_once} = {points}")
    }
    pub fn tier_reached(tier: &str, sum: &str, before: &str) -> String {
        format!("{tier} reached: {sum} in all, of which you had {before}")
    }
    pub fn by_rule(rule: &str, version: i32) -> String {
        format!("by the rule {rule} of version {version}")
    }
    pub const WITHHELD: &str = "Not granted";
    pub const WITHHELD_WORDS: &str = "Rewards of which you got nothing, and why. What a cap has cut \
        off others stands with them in the ledger.";
    pub const WITHHELD_CAP: &str = "You had reached the cap of this level.";
    pub const WITHHELD_INACTIVE: &str = "Your account was deactivated.";
    pub const WITHHELD_BEFORE_REACTIVATION: &str =
        "The purchase was made before your account was active again.";
    pub fn not_granted(reward: &str) -> String {
        format!("{reward}, not granted")
    }
    pub fn computed(by_rule: &str) -> String {
        format!("Computed {by_rule}.")
    }
    pub fn cap_is(amount: &str, unit: &str) -> String {
        format!("The cap is {amount} {}.", crate::reader::unit_name(unit))
    }
    pub fn cut_by_cap(computed: &str) -> String {
        format!("cut from {computed} by the cap")
    }
    pub fn reason(code: &str) -> String {
        code.to_lowercase().replace('_', " ")
    }
    pub fn as_of(day: &str) -> String {
        format!("At the end of {day}")
    }
    pub fn rewards(number: &str, count: i32) -> String {
        if count == 1 { "1 reward".into() } else { format!("{number} rewards") }
    }
    pub fn purchase(id: &str) -> String {
        format!("Purchase {id}")
    }
    pub fn expires(day: &str) -> String {
        format!("Expires on {day}")
    }
    pub fn entries(count: usize) -> String {
        if count == 1 { "1 entry".into() } else { format!("{count} entries") }
    }
    pub fn people(count: usize) -> String {
        if count == 1 { "1 person".into() } else { format!("{count} people") }
    }
    pub fn participants(number: &str, count: i64) -> String {
        if count == 1 { "1 participant".into() } else { format!("{number} participants") }
    }
    pub fn participants_of(shown: &str, all: &str) -> String {
        format!("{shown} of {all} participants")
    }
    pub fn referred_so_many(count: i32) -> String {
        format!("referred {count}")
    }
    pub const RANKED_BY_POINTS: &str = "Whoever has earned the most points is first.";
    pub const RANKED_BY_REFERRALS: &str = "Whoever has brought the most people is first.";
    pub const RANKED_BY_CONVERSIONS: &str =
        "Whoever has the most referrals that converted is first.";
    pub const RANKED_BY_EARNINGS: &str = "Whoever has earned the most by rewards is first.";
    pub fn from_tier(tier: &str) -> String {
        format!("From {tier}")
    }
    pub fn per_person(limit: i32) -> String {
        format!("{limit} a person")
    }
    pub fn in_stock(left: &str) -> String {
        format!("{left} left")
    }
    pub fn missing(amount: &str) -> String {
        format!("{amount} more to go")
    }
    pub const REACHED_WORDS: &str = "Well done!";
    pub const GO_ON: &str = "Go on";
    pub fn reached(tier: &str) -> String {
        format!("You have reached {tier}")
    }
    /// The head of the table that is downloaded.
    pub const CSV_HEAD: [&str; 9] =
        ["time", "kind", "what", "rule", "bucket", "purchase_id", "amount", "balance", "unit"];
    pub fn minor(amount: Option<&Money>) -> i64 {
        amount.map_or(0, |amount| amount.minor_units)
    }
}

pub mod statement {
    pub use super::participant::{
        ADJUSTED, AMOUNT, AVAILABLE, BALANCE, CREDITED, EXPIRED, ON_ITS_WAY, PAID_OUT, PART,
        SET_ASIDE, SHOW, SPENT, TAKEN_BACK, WHAT, WHEN, purchase,
    };

    pub const GRANTED: &str = "Rewards granted";
    pub const STATEMENT: &str = "Statement";
    pub const TO_EARNINGS: &str = "Back to the earnings";
    pub const PRINT: &str = "Print";
    pub const MONTH: &str = "Month";
    pub const BEFORE: &str = "The month before";
    pub const AFTER: &str = "The month after";
    pub const FOR: &str = "For";
    pub const CODE: &str = "Code";
    pub const FROM: &str = "From";
    pub const UNTIL: &str = "Until";
    pub const IN_UTC: &str =
        "The month begins and ends at midnight in UTC, and all times are in UTC.";
    pub const ACCOUNT: &str = "Account";
    pub const BALANCES: &str = "Before and after";
    pub const OPENING: &str = "Opening";
    pub const CLOSING: &str = "Closing";
    pub const IN_BETWEEN: &str = "What moved it";
    pub const NOTHING: &str = "Nothing was added or taken in this month.";
    pub const ENTRIES: &str = "Entries";
    pub const NO_ENTRIES: &str = "No entries";
    pub const NO_ENTRIES_WORDS: &str = "Nothing moved in this month. Choose another one above.";
    pub const TOO_MANY: &str =
        "This month has more entries than a page can show: these are the newest. The CSV has more.";

    pub fn of_month(month: &str) -> String {
        format!("Statement of {month}")
    }
    pub fn until(day: &str) -> String {
        format!("the end of {day}")
    }
    pub const SO_FAR: &str = "now: the month is not over";
    pub fn made(moment: &str) -> String {
        format!("made on {moment}.")
    }
}

pub mod rules {
    use contract::pb::{AttachPolicy, EarnOn};

    pub const TITLE: &str = "How it works";
    pub const IN_SHORT: &str = "In short";
    pub const SHARE: &str = "You share your code or your link.";
    pub const REWARDS: &str = "Who gets what";
    pub const EXAMPLE: &str = "An example";
    pub const TIERS: &str = "Tiers";
    pub const TIER: &str = "Tier";
    pub const FROM_REFERRALS: &str = "From referrals";
    pub const EACH_REFERRAL: &str = "Each referral";
    pub const AT_ONCE: &str = "At once";
    pub const QUESTIONS: &str = "Questions";
    pub const BUYER_IS_CREDITED: &str = "Your friend, for the purchase itself";
    pub const FIVE_FRIENDS: &str = "You bring five friends.";
    pub const YOU_HAVE: &str = "You have";
    pub const WHEN_DO_I_GET: &str = "When do I get something?";
    pub const ANY_PURCHASE: &str = "Does every purchase count?";
    pub const FIRST_TOO_SMALL: &str = "What if the first purchase is too small?";
    pub const SMALL_PURCHASES_WAIT: &str =
        "Nothing is lost: the first purchase that is large enough counts.";
    pub const ANY_FIRST_COUNTS: &str =
        "The first purchase is the one that counts, whatever its amount.";
    pub const HOW_MANY: &str = "How many friends can I bring?";
    pub const ANY_NUMBER: &str = "As many as you like.";
    pub const CODE_LATER: &str = "Can a friend use my code later?";
    pub const ATTACH_ANY_TIME: &str =
        "Yes: also after signing up, as long as nobody else has referred them.";
    pub const ATTACH_AT_REGISTRATION: &str = "No: the code is given when they sign up.";
    pub const WHY_WAITING: &str = "Why is a reward on its way for a while?";
    pub const REFUNDS: &str = "What if a purchase is refunded?";
    pub const CREDIT_GOES_BACK: &str =
        "Of a price that was added to a balance, what was refunded is taken back.";
    pub const BELOW_ZERO: &str = "If something was used already, the balance falls below zero.";
    pub const FORMULA: &str = "Your points in all are your friends × the points for each referral of the \
        tier that you have reached, and what that tier gives at once. A new tier counts for your earlier \
        friends, too. What it gives at once takes the place of what the tier before gave.";
    pub const EXPIRE: &str = "Does what I have earned expire?";
    pub const CONFIRMED_EMAIL: &str = "Why is a referral held?";
    pub const CONFIRMED_EMAIL_ANSWER: &str =
        "It counts once the person has confirmed their e-mail address. Nothing is lost until then.";

    pub fn joins(attach: AttachPolicy) -> String {
        match attach {
            AttachPolicy::AnyTime => "A friend signs up with it, or adds it later.",
            AttachPolicy::RegistrationOnly | AttachPolicy::Unspecified => {
                "A friend signs up with it."
            }
        }
        .into()
    }
    pub fn when(earn_on: EarnOn) -> &'static str {
        match earn_on {
            EarnOn::Referral | EarnOn::Unspecified => {
                "You get something at once, for each friend who comes."
            }
            EarnOn::FirstPurchase => "With their first purchase, you get something.",
            EarnOn::EveryPurchase => "With each of their purchases, you get something.",
        }
    }
    /// Who gets something when a friend of the reader buys.
    pub fn who(level: i32) -> String {
        match level {
            0 => "Your friend".into(),
            1 => "You".into(),
            2 => "The friend who brought you".into(),
            _ => format!("The person {} levels above you", level - 1),
        }
    }

    /// Who reads what a rule grants.
    #[derive(Clone, Copy)]
    pub enum To<'a> {
        /// A participant, whose friends come and buy.
        Participant,
        /// Somebody whom the person of this name invites.
        Invited(&'a str),
    }

    /// What a rule grants.
    #[derive(Clone, Copy)]
    pub enum What<'a> {
        /// A share of the purchase, as a percentage.
        Share(&'a str),
        /// An amount with its unit.
        Amount(&'a str),
        /// Points by the tier of the earner.
        ByTier,
    }

    /// What a rule of a level grants, and for what, as a sentence to whom it concerns.
    pub fn reward(
        to: To<'_>,
        level: i32,
        earn_on: EarnOn,
        what: What<'_>,
        cap: Option<&str>,
    ) -> String {
        let (who, gets) = earner(to, level);
        let got = match what {
            What::Share(percent) => format!("{percent} of what {} buy", buyers(to, level)),
            What::Amount(amount) => format!("{amount} {}", occasion(to, level, earn_on)),
            What::ByTier => match to {
                To::Participant => {
                    "points for each friend, by the tier that you have reached".into()
                }
                To::Invited(_) => "points for you, by the tier that they have reached".into(),
            },
        };
        format!("{who} {gets} {got}{}.", cap.unwrap_or_default())
    }

    /// Who earns at a level.
    fn earner(to: To<'_>, level: i32) -> (String, &'static str) {
        use super::door::YOUR_FRIEND;
        match (to, level) {
            (To::Participant, 0) => (YOUR_FRIEND.into(), "gets"),
            (To::Participant, _) | (To::Invited(_), 0) => ("You".into(), "get"),
            (To::Invited(name), 1) => (name.into(), "gets"),
            (To::Invited(name), _) => {
                let name = if name == YOUR_FRIEND { "your friend" } else { name };
                let who = match level {
                    2 => format!("The friend who invited {name}"),
                    _ => format!("The person {} levels above {name}", level - 1),
                };
                (who, "gets")
            }
        }
    }

    /// Whose purchases bring something to the earner of a level.
    fn buyers(to: To<'_>, level: i32) -> String {
        match (to, level) {
            (To::Invited(_), _) => "you".into(),
            (To::Participant, 0) => "they".into(),
            (To::Participant, 1) => "your friends".into(),
            (To::Participant, 2) => "their friends".into(),
            (To::Participant, _) => format!("people {level} levels below you"),
        }
    }

    /// For what the earner of a level gets an amount.
    fn occasion(to: To<'_>, level: i32, earn_on: EarnOn) -> String {
        let (joining, first, every) = match (to, level) {
            (To::Invited(_), _) => {
                ("when you join", "for your first purchase", "for each of your purchases")
            }
            (To::Participant, 0) => {
                ("when they join", "for their first purchase", "for each of their purchases")
            }
            (To::Participant, 1) => (
                "for each friend who joins",
                "for the first purchase of each friend",
                "for each purchase of a friend",
            ),
            (To::Participant, 2) => (
                "for each friend of a friend who joins",
                "for the first purchase of each friend of a friend",
                "for each purchase of a friend of a friend",
            ),
            (To::Participant, _) => {
                let of = format!("people {level} levels below you");
                return match earn_on {
                    EarnOn::Referral | EarnOn::Unspecified => format!("when {of} join"),
                    EarnOn::FirstPurchase => format!("for first purchases of {of}"),
                    EarnOn::EveryPurchase => format!("for each purchase of {of}"),
                };
            }
        };
        match earn_on {
            EarnOn::Referral | EarnOn::Unspecified => joining,
            EarnOn::FirstPurchase => first,
            EarnOn::EveryPurchase => every,
        }
        .into()
    }
    /// That the price of purchases is added to the balance of whoever buys.
    pub fn purchases_credited(to: To<'_>, currency: &str) -> String {
        match to {
            To::Participant => format!(
                "Whoever takes part also gets the price of all that they buy in {currency}, on their own balance."
            ),
            To::Invited(_) => format!(
                "You also get the price of all that you buy in {currency}, on your own balance."
            ),
        }
    }
    /// What becomes of a share when a purchase is refunded; with what must be left of the purchase.
    pub fn share_goes_back(left: Option<&str>) -> String {
        let part = "Of a share, the same part is taken back as of the price";
        match left {
            Some(left) => {
                format!("{part}; if less than {left} is left of the purchase, all of it is.")
            }
            None => format!("{part}."),
        }
    }
    pub fn fixed_goes_back(left: Option<&str>) -> String {
        format!("A fixed amount {}", stays(left, "stays", "all of it is taken back"))
    }
    pub fn tiers_go_back(left: Option<&str>) -> String {
        let after = "this friend no longer counts, and your tier can go down";
        format!("Points by tier {}", stays(left, "stay", after))
    }
    fn stays(left: Option<&str>, stays: &str, after: &str) -> String {
        match left {
            Some(left) => format!(
                "{stays} as long as {left} or more is left of the purchase; below that, {after}."
            ),
            None => format!("{stays} until nothing is left of the purchase; then {after}."),
        }
    }
    /// What so many friends are worth, who are the first ones of a tier.
    pub fn formula_of(tier: &str, friends: &str, sum: &str) -> String {
        format!("With {friends} friends you have reached {tier}: {sum}.")
    }
    pub fn every_amount(currency: &str) -> String {
        if currency.is_empty() {
            "Yes, of any amount.".into()
        } else {
            format!("Yes, of any amount, if it is paid in {currency}.")
        }
    }
    pub fn up_to(amount: &str, unit: &str) -> String {
        format!(", up to {amount} {} in all", crate::reader::unit_name(unit))
    }
    pub fn buys_for(amount: &str, currency: &str) -> String {
        format!("A friend whom you brought buys for {amount} {currency}.")
    }
    pub fn least(amount: &str, currency: &str) -> String {
        if currency.is_empty() {
            format!("Those of {amount} or more.")
        } else {
            format!("Those of {amount} {currency} or more, paid in {currency}.")
        }
    }
    pub fn so_many(places: &str) -> String {
        format!("Up to {places}.")
    }
    pub fn held_for(days: i32, earn_on: EarnOn) -> String {
        let days = if days == 1 { "1 day".into() } else { format!("{days} days") };
        match earn_on {
            EarnOn::Referral | EarnOn::Unspecified => format!("It becomes available after {days}."),
            EarnOn::FirstPurchase | EarnOn::EveryPurchase => format!(
                "It becomes available after {days}, when the purchase can no longer be sent back."
            ),
        }
    }
    pub fn expire_after(months: i32) -> String {
        format!(
            "Yes, {months} months after you have earned it, unless you use it before. You get a mail in time."
        )
    }
}

pub mod profile {
    pub const TITLE: &str = "Profile";
    pub const WORDS: &str = "How others see you, and how we reach you.";
    pub const NAMES: &str = "Names";
    pub const DISPLAY_NAME: &str = "Shown name";
    pub const DISPLAY_NAME_HINT: &str = "On leaderboards, and to those you refer.";
    pub const USERNAME: &str = "Username";
    pub const USERNAME_HINT: &str = "To sign in with.";
    pub const SAVE: &str = "Save";
    pub const CHANGE: &str = "Change";
    pub const EMAIL: &str = "E-mail address";
    pub const EMAIL_WORDS: &str =
        "Another address becomes yours when you open the link that we mail to it.";
    pub const EMAIL_CONFIRMED: &str = "This is the address of your account.";
    pub const EMAIL_NOT_CONFIRMED: &str = "This is the address of your account. It is not confirmed yet: \
        we mail you a link, and you open it.";
    pub const MAIL_THE_LINK: &str = "Mail me the link";
    pub const NEW_EMAIL: &str = "New address";
    pub const CONFIRMED: &str = "Confirmed";
    pub const NOT_CONFIRMED: &str = "Not confirmed";
    pub const PASSWORD: &str = "Password";
    pub const PASSWORD_WORDS: &str = "A new password ends all your other sessions.";
    pub const OLD_PASSWORD: &str = "Present password";
    pub const NEW_PASSWORD: &str = "New password";
    pub const MAILS: &str = "Mails";
    pub const MAILS_WORDS: &str = "Mails about your account itself are always sent.";
    pub const MAIL_WELCOME: &str = "A welcome to each program";
    pub const MAIL_REFERRAL: &str = "Somebody has come by my code";
    pub const MAIL_CONVERSION: &str = "Somebody has converted";
    pub const MAIL_TIER: &str = "I have reached a tier";
    pub const MAIL_REVERSAL: &str = "A reward was taken back";
    pub const MAIL_RELEASE: &str = "A reward has become available";
    pub const MAIL_EXPIRY: &str = "Something is about to expire";
    pub const WRONG_PASSWORD: &str = "This is not your password.";
    pub const PAYOUT: &str = "Payouts";
    pub const PAYOUT_WORDS: &str = "Where money goes that is paid out. It is not shown here again.";
    pub const PAYOUT_IS_SET: &str =
        "You have said how you are paid. What you save here takes its place.";
    pub const PAYOUT_IS_NOT_SET: &str =
        "You have not said how you are paid: payouts pass you over.";
    pub const TAKE_PAYOUT_BACK: &str = "Take it back";
    pub const PAYOUT_KIND: &str = "Kind";
    pub const PAYOUT_KIND_HINT: &str = "Such as bank or paypal.";
    pub const PAYOUT_KINDS: [&str; 6] = ["bank", "sepa", "upi", "paypal", "wise", "card"];
    pub const PAYOUT_REFERENCE: &str = "Account";
    pub const PAYOUT_REFERENCE_HINT: &str = "What the bank or service knows you by.";
    pub const SESSIONS: &str = "Sessions";
    pub const SESSIONS_WORDS: &str = "Where you have signed in.";
    pub const THIS_ONE: &str = "This one";
    pub const LAST_USED: &str = "Used";
    pub const END_SESSION: &str = "End";
    pub const EXPORT: &str = "Your data";
    pub const EXPORT_WORDS: &str = "Everything that is stored about you, as a file.";
    pub const EXPORT_BUTTON: &str = "Download";
    pub const ERASE: &str = "Erase the account";
    pub const ERASE_WORDS: &str = "Your names, address and password are deleted for good. What was \
        earned stays in the books without them.";
    pub const ERASE_OPEN: &str = "Erase…";
    pub const ERASE_CONFIRM: &str = "Username";
    pub const FORFEIT: &str = "I give up what I have not been paid yet.";
    pub const ERASE_BUTTON: &str = "Erase for good";
    pub const UNKNOWN_CLIENT: &str = "An unknown client";

    pub fn waits_for(address: &str) -> String {
        format!("{address} waits to be confirmed.")
    }
    pub fn browser_on(browser: &str, system: &str) -> String {
        format!("{browser} on {system}")
    }
    pub fn type_username(username: &str) -> String {
        format!("Type {username} to confirm.")
    }
}

/// API keys.
pub mod keys {
    pub const KEYS: &str = "API keys";
    pub const KEYS_WORDS: &str =
        "By a key a program shows who it is. Give each one its own, so that you can end it alone.";
    pub const NO_KEYS: &str = "No keys yet";
    pub const NO_KEYS_WORDS: &str = "Create one below for your back end.";
    pub const NEW_KEY: &str = "New key";
    pub const NAME: &str = "Name";
    pub const NAME_HINT: &str = "What it is for, such as “shop”.";
    pub const ROLE: &str = "Role";
    pub const ROLE_HINT: &str = "A back end acts for all users, an admin may do everything.";
    pub const USER: &str = "User";
    pub const USER_HINT: &str = "Only for the role “one user”.";
    pub const RPCS: &str = "Only these calls";
    pub const RPCS_HINT: &str =
        "Such as RecordPurchase, read-only or purchases-only. Left empty: all of the role.";
    pub const PROGRAMS: &str = "Only these programs";
    pub const PROGRAMS_HINT: &str = "Their ids. Left empty: all.";
    pub const EXPIRES: &str = "Until the end of";
    pub const EXPIRES_HINT: &str = "Left empty: until it is revoked.";
    pub const CREATE: &str = "Create the key";
    pub const SHOWN_ONCE: &str =
        "Copy it now: it is not shown again, and the server does not know it.";
    pub const SHOWN_BEFORE: &str =
        "This key was created before. A key is shown once; revoke it if it is lost.";
    pub const COPY: &str = "Copy";
    pub const LIMITS: &str = "Limits";
    pub const NO_LIMITS: &str = "None";
    pub const USED: &str = "Last used";
    pub const NEVER: &str = "Never";
    pub const REVOKE: &str = "Revoke";
    pub const REVOKED: &str = "Revoked";
    pub const EXPIRED: &str = "Expired";
    pub const ADMIN: &str = "Admin";
    pub const SERVICE: &str = "Back end";
    pub const ONE_USER: &str = "One user";

    pub fn created(name: &str) -> String {
        format!("The key “{name}”")
    }
    pub fn created_by(actor: &str) -> String {
        format!("By {actor},")
    }
    pub fn in_programs(programs: &str) -> String {
        format!("in {programs}")
    }
    pub fn refused(calls: &str) -> String {
        format!("{calls} calls refused")
    }
    pub fn revoke(name: &str) -> String {
        format!("Revoke the key {name}")
    }
    pub fn so_many(count: usize) -> String {
        if count == 1 { "1 key".into() } else { format!("{count} keys") }
    }
}

/// The log.
pub mod log {
    pub const LOG: &str = "Log";
    pub const LOG_WORDS: &str =
        "Everything that was recorded, the newest first. Nothing in it ever changes.";
    pub const NOTHING: &str = "No such events";
    pub const NOTHING_WORDS: &str =
        "What is recorded from now on appears here by itself, if it matches.";
    pub const FILTER: &str = "Filter";
    pub const TYPE: &str = "What happened";
    pub const ANY_TYPE: &str = "Anything";
    pub const PROGRAM: &str = "Program";
    pub const PROGRAM_HINT: &str = "Its id.";
    pub const USER: &str = "Person";
    pub const USER_HINT: &str = "Id, username, e-mail address or code.";
    pub const STREAM: &str = "Stream";
    pub const STREAM_HINT: &str = "The id of a purchase, or a program and a user as spring/ana.";
    pub const ACTOR: &str = "By whom";
    pub const ACTOR_HINT: &str = "Such as user:ana, key:service:k_7f3a or system.";
    pub const BEFORE: &str = "Before the position";
    pub const BEFORE_HINT: &str = "Left empty: the newest.";
    pub const UNTIL: &str = "Until the end of";
    pub const UNTIL_HINT: &str = "Instead of a position.";
    pub const APPLY: &str = "Show";
    pub const SHOW_ALL: &str = "Without filters";
    pub const POSITION: &str = "Position";
    pub const ABOUT: &str = "About";
    pub const WHEN: &str = "When";
    pub const DOOR: &str = "By way of";
    pub const PAYLOAD: &str = "What it says";
    pub const METADATA: &str = "What is known of it";
    pub const SAME_COMMAND: &str = "The same command as the event before it.";
    pub const EARLIER: &str = "Earlier";
    pub const LATER: &str = "Later";
    pub const NO_POSITION: &str = "Write a position: 1 or more.";
    pub const NO_DAY: &str = "Choose a day.";

    pub fn event(position: &str) -> String {
        format!("Event {position}")
    }
    pub fn so_many(count: usize) -> String {
        if count == 1 { "1 event".into() } else { format!("{count} events") }
    }
    pub fn searched(count: usize, position: &str) -> String {
        format!("{}, searched back to position {position}", so_many(count))
    }
}

/// Programs as operators define them.
pub mod program {
    pub const PROGRAMS: &str = "Programs";
    pub const PROGRAMS_WORDS: &str =
        "The rules by which people earn. Every change is a new version.";
    pub const RULES: &str = "Rules";
    pub const FIGURES: &str = "Figures";
    pub const NEW_PROGRAM: &str = "New program";
    pub const NEW_PROGRAM_WORDS: &str = "Fill in the form or write the JSON. Nothing is in force \
        before you have seen it and published it.";
    pub const NO_PROGRAMS_WORDS: &str = "Write one here, or publish a file by the command line.";
    pub const EARNS: &str = "What earns";
    pub const UNIT: &str = "Unit";
    pub const VERSION: &str = "Version";
    pub const PUBLISHED: &str = "In force since";
    pub const VERSIONS: &str = "Versions";
    pub const VERSIONS_WORDS: &str = "What was in force when, and what each change was.";
    pub const THE_FORM: &str = "Form";
    pub const THE_JSON: &str = "JSON";
    pub const JSON_WORDS: &str = "The same program as a file. Change either side: the buttons below \
        it take that side, and write the other one anew.";
    pub const CHECK: &str = "Check";
    pub const PREVIEW: &str = "See what changes";
    pub const NOTHING_WRONG: &str = "Nothing is wrong with it. Nothing is published yet.";
    pub const FAULTS: &str = "What is wrong";
    pub const JSON_UNREADABLE: &str =
        "The JSON cannot be read, so that there is no form of it. Mend it, and check it again.";
    pub const ADD_RULE: &str = "Add a rule";
    pub const ADD_TIER: &str = "Add a tier";
    pub const REMOVE: &str = "Remove";
    pub const NO_RULES: &str = "No rule yet: nobody earns anything.";
    pub const CHOOSE: &str = "Choose…";
    pub const AS_USUAL: &str = "As by default";
    pub const NOT_A_CHOICE: &str = "Choose one from the list.";
    pub const NOT_WHOLE: &str = "Write a whole number.";
    pub const SHARE_OUT_OF_RANGE: &str =
        "Must be more than 0, and all shares of a purchase together at most 100 percent.";
    pub const AMOUNT_OUT_OF_RANGE: &str =
        "Must be more than 0, and at most a quadrillion of the smallest unit.";
    pub const NO_PERCENTAGE: &str = "Write a percentage, such as 5 or 12.5.";
    pub const PUBLISH: &str = "Publish";
    pub const BACK: &str = "Go on editing";
    pub const PREVIEW_WORDS: &str =
        "It is in force from the moment you publish it. What was earned before stays as it was.";
    pub const NO_DIFFERENCE: &str =
        "There is no difference to the version in force: publishing it would change nothing.";
    pub const DIFFERENCES: &str = "Differences";
    pub const FIELD: &str = "Field";
    pub const BEFORE: &str = "Before";
    pub const AFTER: &str = "After";
    pub const COMPARE: &str = "Compare";
    pub const FROM: &str = "From";
    pub const TO: &str = "To";
    pub const SAME: &str = "These versions are the same.";
    pub const IN_FORCE: &str = "In force";
    pub const SHOW: &str = "Open";
    pub const YES: &str = "Yes";
    pub const NO: &str = "No";
    pub const EDIT: &str = "Edit";

    /// The groups of the form, with the fields of the contract in them.
    pub const GROUPS: [(&str, &[&str]); 7] = [
        (
            "The program",
            &[
                "program_id",
                "display_name",
                "unit",
                "time_zone",
                "base_url",
                "enroll_by_default",
                "mails",
            ],
        ),
        ("Codes", &["code", "unknown_code", "exhausted_code", "max_uses_per_code"]),
        (
            "Referrals",
            &[
                "attach",
                "max_direct_referrals",
                "require_confirmed_email",
                "make_up_held_purchases",
            ],
        ),
        (
            "What earns",
            &[
                "earn_on",
                "first_purchase_used_by",
                "purchase_currency_code",
                "minimum_purchase_minor",
                "reverse_below_minimum",
                "credit_purchases",
            ],
        ),
        ("Who earns how much", &["rewards"]),
        (
            "Balances and the leaderboard",
            &["hold_days", "expire_months", "pays_out", "leaderboard"],
        ),
        ("Fraud checks", &["fraud_checks"]),
    ];

    /// What a field of the contract is called, and what helps to fill it in.
    #[expect(clippy::too_many_lines, reason = "one line for each field")]
    pub fn field(key: &str) -> Option<(&'static str, &'static str)> {
        Some(match key {
            "Program.program_id" => {
                ("Id", "Letters, digits, dots, hyphens and underscores. It stays for good.")
            }
            "Program.display_name" => ("Name", "For people. Left empty, it is the id."),
            "Program.unit" => (
                "Unit",
                "A currency such as USD, or a unit of its own such as POINTS. It stays for good.",
            ),
            "Program.base_url" => (
                "Address of links",
                "Links are this address with the code. Left empty, there are none.",
            ),
            "Program.code" => ("What codes look like", ""),
            "CodeFormat.length" => ("Length of codes", "6 to 32 characters. Left empty: 8."),
            "CodeFormat.alphabet" => {
                ("Characters of codes", "At least 10 of A-Z and 0-9. Left empty: all of them.")
            }
            "Program.attach" => ("When a referrer can be named", ""),
            "Program.unknown_code" => ("A sign-up with an unknown code", ""),
            "Program.exhausted_code" => ("A sign-up with a code that is used up", ""),
            "Program.earn_on" => ("What earns", ""),
            "Program.first_purchase_used_by" => {
                ("What counts as the first purchase", "Only where the first purchase earns.")
            }
            "Program.minimum_purchase_minor" => (
                "Smallest purchase that earns",
                "In the currency of purchases, such as 10. Left empty: any.",
            ),
            "Program.purchase_currency_code" => {
                ("Currency of purchases", "Such as USD. Left empty: any.")
            }
            "Program.max_uses_per_code" => {
                ("Referrals by one code, at most", "Left empty: any number.")
            }
            "Program.max_direct_referrals" => {
                ("Direct referrals of a person, at most", "Left empty: any number.")
            }
            "Program.rewards" => ("Rules", "At most one for each level."),
            "Program.credit_purchases" => ("Purchases are also credited to the buyer in full", ""),
            "Program.leaderboard" => ("The leaderboard ranks by", ""),
            "Program.enroll_by_default" => ("Sign-ups without a code enter this program", ""),
            "Program.mails" => ("Participants get mails about the program", ""),
            "Program.require_confirmed_email" => {
                ("A referral waits until the address is confirmed", "")
            }
            "Program.make_up_held_purchases" => {
                ("Purchases during a hold are made up for", "By default they are.")
            }
            "Program.fraud_checks" => ("Fraud checks", ""),
            "Program.reverse_below_minimum" => {
                ("A refund below the minimum takes the whole reward", "By default it does.")
            }
            "Program.hold_days" => {
                ("Days until rewards are available", "1 to 400. Left empty: at once.")
            }
            "Program.pays_out" => ("What is available can be paid out", ""),
            "Program.expire_months" => {
                ("Months until rewards expire", "1 to 60. Left empty: never.")
            }
            "Program.time_zone" => {
                ("Time zone of months", "Such as Europe/Berlin. Left empty: UTC.")
            }
            "RewardRule.rule" => ("Name of the rule", "It is shown with every reward."),
            "RewardRule.level" => {
                ("Level", "0 the buyer, 1 who brought them, 2 who brought those.")
            }
            "RewardRule.kind" => ("Kind", ""),
            "RewardRule.flat_minor" => ("Fixed amount", "In the program's unit, such as 5."),
            "RewardRule.rate_bps" => ("Share of the purchase", "In percent, such as 5 or 12.5."),
            "RewardRule.tiers" => {
                ("Tiers", "The total by how many were referred. The first tier begins at 0.")
            }
            "RewardRule.count" => ("One whole unit for each referral", ""),
            "RewardRule.cap_minor" => {
                ("Cap for each earner", "In the program's unit. Left empty: none.")
            }
            "Tier.name" => ("Name of the tier", ""),
            "Tier.from_referrals" => ("From so many referrals", ""),
            "Tier.rate_points" => ("Points for each referral", ""),
            "Tier.bonus_points" => ("Bonus", ""),
            "FraudChecks.sign_ups_per_address" => ("Many sign-ups from one IP address", ""),
            "FraudChecks.same_mailbox" => ("The mailbox of somebody else", ""),
            "FraudChecks.look_alike" => ("A mailbox that looks like another one", ""),
            "FraudChecks.similar_address" => ("An address similar to the referrer's", ""),
            "FraudChecks.fingerprint" => ("The device or means of payment of somebody else", ""),
            "FraudChecks.mutual_referral" => ("Two who refer each other", ""),
            "FraudChecks.referral_burst" => ("Many referrals within an hour", ""),
            "FraudChecks.disposable_domain" => ("A disposable address", ""),
            "FraudCheck.policy"
            | "SignUpsPerAddressCheck.policy"
            | "SimilarAddressCheck.policy"
            | "ReferralBurstCheck.policy" => ("What follows", ""),
            "SignUpsPerAddressCheck.max_sign_ups" => ("Sign-ups in order", "Left empty: 5."),
            "SignUpsPerAddressCheck.window_hours" => ("Within hours", "Left empty: 24."),
            "SimilarAddressCheck.min_similarity_bps" => {
                ("Similarity of addresses", "In percent. Left empty: 85.")
            }
            "SimilarAddressCheck.min_local_part_similarity_bps" => {
                ("Similarity before the @", "In percent. Left empty: 70.")
            }
            "ReferralBurstCheck.max_referrals_per_hour" => {
                ("Referrals in order", "Left empty: 20.")
            }
            _ => return None,
        })
    }

    /// A value of the contract in words.
    pub fn value(name: &str) -> Option<&'static str> {
        Some(match name {
            "ATTACH_POLICY_REGISTRATION_ONLY" => "At sign-up only",
            "ATTACH_POLICY_ANY_TIME" => "At sign-up and later",
            "INVALID_CODE_POLICY_REJECT" => "Is refused",
            "INVALID_CODE_POLICY_REGISTER_UNREFERRED" => "Succeeds without a referrer",
            "EARN_ON_REFERRAL" => "Each referral, at once",
            "EARN_ON_FIRST_PURCHASE" => "The first purchase",
            "EARN_ON_EVERY_PURCHASE" => "Every purchase",
            "FIRST_PURCHASE_USE_ANY_PURCHASE" => "Any purchase",
            "FIRST_PURCHASE_USE_QUALIFYING_PURCHASE" => "The first that reaches the minimum",
            "LEADERBOARD_METRIC_POINTS" => "Points or credits",
            "LEADERBOARD_METRIC_REFERRALS" => "Referrals",
            "LEADERBOARD_METRIC_CONVERSIONS" => "Conversions",
            "LEADERBOARD_METRIC_EARNINGS" => "Earnings",
            "REWARD_KIND_POINTS" => "Points",
            "REWARD_KIND_CREDIT" => "Credit",
            "REWARD_KIND_BONUS" => "Bonus",
            "REWARD_KIND_COMMISSION" => "Commission",
            "FRAUD_POLICY_FLAG" => "Flag for review",
            "FRAUD_POLICY_HOLD" => "Hold until somebody decides",
            "FRAUD_POLICY_REJECT" => "Reject",
            _ => return None,
        })
    }

    pub fn so_many(count: usize) -> String {
        if count == 1 { "1 program".into() } else { format!("{count} programs") }
    }
    pub fn so_many_versions(count: usize) -> String {
        if count == 1 { "1 version".into() } else { format!("{count} versions") }
    }
    pub fn version(version: i32) -> String {
        format!("Version {version}")
    }
    pub fn id_and_version(id: &str, version: i32) -> String {
        format!("{id}, version {version}")
    }
    pub fn rule(number: usize) -> String {
        format!("Rule {number}")
    }
    pub fn tier(number: usize) -> String {
        format!("Tier {number}")
    }
    pub fn remove(what: &str) -> String {
        format!("Remove {}", what.to_lowercase())
    }
    /// A number of the smallest units, as people know it.
    pub fn is_amount(amount: &str) -> String {
        format!("That is {amount}.")
    }
    pub fn old_version(shown: i32, current: i32) -> String {
        format!(
            "This is version {shown}. Version {current} is in force, and stays so until you publish another one."
        )
    }
    pub fn moved_on(version: i32) -> String {
        format!(
            "Somebody has published version {version} meanwhile. These are the differences to it now."
        )
    }
    pub fn becomes(id: &str, version: i32) -> String {
        if version == 1 {
            format!("{id} becomes a program.")
        } else {
            format!("{id} gets version {version}.")
        }
    }
    pub fn publish(version: i32) -> String {
        format!("Publish version {version}")
    }
    pub fn between(from: i32, to: i32) -> String {
        format!("From version {from} to version {to}")
    }
    pub fn changes_of(version: i32) -> String {
        format!("What version {version} changed")
    }
}

/// The fraud queue.
pub mod review {
    pub const FRAUD: &str = "Fraud queue";
    pub const FRAUD_WORDS: &str =
        "What the checks of the programs have found, and what to do about it.";
    pub const STATE: &str = "State";
    pub const OPEN_ONES: &str = "Open";
    pub const RESOLVED_ONES: &str = "Decided";
    pub const ALL_FLAGS: &str = "All";
    pub const KIND: &str = "Kind";
    pub const ALL_KINDS: &str = "All kinds";
    pub const PROGRAM: &str = "Program";
    pub const ALL_PROGRAMS: &str = "All programs";
    pub const ORDER: &str = "Order";
    pub const NEWEST_FIRST: &str = "Newest first";
    pub const GRAVEST_FIRST: &str = "Gravest first";
    pub const SHOW: &str = "Show";
    pub const ABOUT: &str = "Only flags that name";
    pub const NO_FLAGS: &str = "Nothing to decide";
    pub const NO_FLAGS_WORDS: &str = "No flag is like this. New ones appear here by themselves, as \
        soon as a check finds something.";
    pub const SAME_MAILBOX: &str = "Same mailbox";
    pub const SELF_REFERRAL: &str = "Similar to the referrer";
    pub const LOOK_ALIKE: &str = "Mailbox that looks the same";
    pub const NEAR_DUPLICATE: &str = "Similar to another referee";
    pub const FINGERPRINT: &str = "Same device";
    pub const MUTUAL_REFERRAL: &str = "Referred each other";
    pub const REFERRAL_BURST: &str = "Too many within an hour";
    pub const SIGN_UPS_PER_ADDRESS: &str = "Too many from one network address";
    pub const DISPOSABLE_DOMAIN: &str = "Disposable e-mail address";
    pub const AT_REFERRAL: &str = "At the referral";
    pub const AT_PURCHASE: &str = "At a purchase";
    pub const AT_ADDRESS_CHANGE: &str = "At a change of the address";
    pub const AT_REFUSED_SIGN_UP: &str = "At a sign-up that was refused";
    pub const WAS_FLAGGED: &str = "Counts meanwhile";
    pub const WAS_HELD: &str = "Held until you decide";
    pub const WAS_REJECTED: &str = "Does not count";
    pub const OPEN: &str = "Open";
    pub const RELEASED: &str = "Released";
    pub const REJECTED: &str = "Rejected";
    pub const REJECTED_AND_DEACTIVATED: &str = "Rejected and deactivated";
    pub const REFEREE: &str = "Referred";
    pub const REFERRER: &str = "Referrer";
    pub const OTHER: &str = "Found with";
    pub const REFERRER_AND_OTHER: &str = "Referrer, and found with";
    pub const REFUSED_SIGN_UP_WORDS: &str = "The sign-up was refused, so there is no account. Your \
        decision is noted, and changes nothing else.";
    pub const NO_EVIDENCE: &str = "The address is not kept any more";
    pub const SIGNED_UP: &str = "Signed up";
    pub const FOUND: &str = "Found";
    pub const WITH: &str = "with";
    pub const SIGNED_UP_FROM: &str = "Came from";
    pub const UNKNOWN_ADDRESS: &str = "Not known";
    pub const LAST_TIME: &str = "Last time";
    pub const RELEASE: &str = "Release";
    pub const REJECT: &str = "Reject";
    pub const REJECT_AND_DEACTIVATE: &str = "Reject and deactivate";
    pub const TAKE_BACK: &str = "Take back what was granted";
    pub const NOTE: &str = "Note, for whoever looks at it later";
    pub const DECIDED_BY: &str = "Decided by";
    pub const TAKEN_BACK: &str = "Taken back";
    pub const DECIDE_ANEW: &str = "Decide otherwise";
    pub const KEYS: &str = "Keys";
    pub const KEYS_WORDS: &str = "Keys that decide are about the flag that is framed.";
    pub const KEY_NEXT: &str = "Next flag";
    pub const KEY_PREVIOUS: &str = "Flag before";
    pub const KEY_NOTE: &str = "Write a note";
    pub const KEY_LEAVE_NOTE: &str = "Leave the note";
    pub const KEY_HELP: &str = "This list";
    pub const USE_KEYS: &str = "Keys are on";
    pub const CLOSE: &str = "Close";
    pub const TO_THE_QUEUE: &str = "To the queue";
    pub const AT_STAKE: &str = "At stake";
    pub const AT_STAKE_WORDS: &str =
        "What the referrer has from this referral, and what the referee bought.";
    pub const REWARDS_SO_FAR: &str = "Rewards";
    pub const GRANTED: &str = "Granted";
    pub const PENDING: &str = "Pending";
    pub const REFERRER_HAS: &str = "Available to the referrer";
    pub const BOUGHT_NOTHING: &str = "Bought nothing yet";
    pub const BOUGHT_NOTHING_WORDS: &str = "Purchases of the person who was referred appear here.";
    pub const DECISIONS: &str = "Decisions so far";

    pub fn so_often(count: i32) -> String {
        format!("{count} times")
    }
    pub fn sign_ups_before(count: i32) -> String {
        format!("{count} before within the window")
    }
    pub fn accounts_of_address(count: i32) -> String {
        if count == 1 { "1 account by now".into() } else { format!("{count} accounts by now") }
    }
    pub fn so_many_flags(count: usize) -> String {
        if count == 1 { "1 flag".into() } else { format!("{count} flags") }
    }
    pub fn newest_in_order(count: usize) -> String {
        format!(
            "There are too many to put all in order. These are the gravest {count} of the newest ones."
        )
    }
    /// What was found, and about whom.
    pub fn kind_about(kind: &str, name: &str) -> String {
        if name.is_empty() { kind.into() } else { format!("{kind}: {name}") }
    }
    pub fn so_many_wait(count: usize) -> String {
        match count {
            1 => "1 purchase earns nothing until you decide. Released, it earns what the program says.".into(),
            _ => format!("{count} purchases earn nothing until you decide. Released, they earn what the program says."),
        }
    }
}

/// Payouts, approvals, adjustments, holds and the store.
pub mod money {
    pub const PAYOUTS: &str = "Payouts";
    pub const PAYOUTS_WORDS: &str = "What is available leaves for people's accounts: create, \
        export, have it transferred, say what became of it.";
    pub const PAYOUT: &str = "Payout";
    pub const STATE: &str = "State";
    pub const ALL: &str = "All";
    pub const PROGRAM: &str = "Program";
    pub const NO_PAYOUTS: &str = "No payouts yet";
    pub const NO_PAYOUTS_WORDS: &str =
        "The form on this page creates the first one, for a program that pays out.";
    pub const RESERVED: &str = "Reserved";
    pub const PAID: &str = "Paid";
    pub const FAILED: &str = "Failed";
    pub const RETURNED: &str = "Came back";
    pub const SKIPPED: &str = "Skipped";
    pub const COLLECTING: &str = "Collecting";
    pub const OPEN: &str = "Open";
    pub const CONFIRMING: &str = "Being confirmed";
    pub const FAILING: &str = "Being failed";
    pub const CONFIRMED: &str = "Confirmed";
    pub const NOBODY_PAID: &str = "Nobody paid";
    pub const NOBODY_PAID_WORDS: &str = "Nobody could be paid, so the payout has ended. Each line \
        says why; the next payout asks again.";
    pub const NOBODY_HAD_ANYTHING: &str = "Nobody had anything available, so the payout has ended.";
    pub const CREATE_PAYOUT: &str = "Create a payout";
    pub const CREATE: &str = "Create";
    pub const NOBODY_PAYS: &str =
        "No program pays out. Publish a version with “pays_out” of one that counts in a currency.";
    pub const MINIMUM: &str = "Smallest amount";
    pub const MINIMUM_HINT: &str = "In the unit of the program. Whoever has less is skipped. Left \
        empty: everybody with anything is paid.";
    pub const PAYOUT_ID: &str = "Id of the payout";
    pub const PAYOUT_ID_HINT: &str = "Such as 2026-05. Left empty, one is made.";
    pub const WOULD_FIND: &str = "Available to participants";
    pub const WOULD_FIND_WORDS: &str = "To all of them together. A payout can pay less: it skips \
        whoever is deactivated or flagged, has less than the smallest amount, or has no payout method.";
    pub const WOULD_FIND_FIRST: &str =
        "It is shown for the first programs only. All others can be chosen above, too.";
    pub const CSV_FOR_PROVIDER: &str = "CSV of what is to be paid";
    pub fn csv_of(state: &str) -> String {
        format!("CSV of lines: {}", state.to_lowercase())
    }
    pub const SO_FAR: &str = "So far";
    pub const COLLECTING_WORDS: &str = "Lines are being made for everybody who has something. The \
        page follows; without a script, reload it.";
    pub const SETTLING: &str = "Lines settled";
    pub const LINES: &str = "Lines";
    pub const NO_LINES: &str = "No lines";
    pub const NO_LINES_YET: &str = "They appear when everybody was collected.";
    pub const NO_LINES_WORDS: &str = "No line of this payout is like this.";
    pub const WHO: &str = "Who";
    pub const AMOUNT: &str = "Amount";
    pub const SAY_WHAT_BECAME: &str = "Decide…";
    pub const WAS_PAID: &str = "It was paid";
    pub const WAS_NOT_PAID: &str = "It was not paid";
    pub const CAME_BACK: &str = "It came back";
    pub const WHOLE: &str = "All reserved lines";
    pub const WHOLE_WORDS: &str = "For what the provider of payments says of all lines that nobody \
        has decided about one by one.";
    pub const ALL_PAID: &str = "All were paid";
    pub const NONE_PAID: &str = "None was paid";
    pub fn all_paid_words(amount: &str) -> String {
        format!(
            "Notes that {amount} have been transferred. This cannot be undone; what comes back later \
             is noted line by line."
        )
    }
    pub fn none_paid_words(amount: &str) -> String {
        format!(
            "Makes {amount} available again, also to the next payout. This cannot be undone: be sure \
             that nothing was transferred."
        )
    }
    pub const NOTHING_RESERVED: &str = "Nothing is left to pay: every line is decided. Closing the \
        payout notes that it is done.";
    pub const CLOSE_PAYOUT: &str = "Close the payout";
    pub const REFERENCE: &str = "Provider's reference";
    pub const REFERENCE_HINT: &str = "What the provider calls the transfer. Stays in the log: an \
        id, and nothing about a person.";
    pub const REASON: &str = "Reason";
    pub const REASON_HINT: &str = "A short code such as account_closed, if it was not paid.";
    pub const FACTS: &str = "About this payout";
    pub const ID: &str = "Id";
    pub const CREATED: &str = "Created";
    pub const CREATED_BY: &str = "By";
    pub const COLLECTED: &str = "Collected";
    pub const SKIP_ERASED: &str = "Erased";
    pub const SKIP_INACTIVE: &str = "Deactivated";
    pub const SKIP_FLAGGED: &str = "Fraud flag";
    pub const SKIP_IN_DEBT: &str = "In debt";
    pub const SKIP_NO_METHOD: &str = "No payout method";
    pub const SKIP_BELOW_MINIMUM: &str = "Less than the smallest amount";
    pub const APPROVALS: &str = "Approvals";
    pub const APPROVALS_WORDS: &str =
        "What one operator has asked for and another one has to approve.";
    pub const LOOK_AT_THEM: &str = "Look at them";
    pub const WAITING: &str = "Waiting";
    pub const APPROVED: &str = "Approved";
    pub const DECLINED: &str = "Declined";
    pub const NO_APPROVALS: &str = "Nothing waits here";
    pub const NO_APPROVALS_WORDS: &str =
        "Large adjustments and payouts appear here until somebody else has approved them.";
    pub const APPROVAL: &str = "Approval";
    pub const ADJUSTMENT: &str = "Adjustment of a balance";
    pub const CONFIRMATION: &str = "Confirmation of a payout";
    pub const CONFIRMATION_OF_LINE: &str = "Confirmation of a line of a payout";
    pub const ASKED_BY: &str = "Asked for by";
    pub const NOTE: &str = "Note";
    pub const DECIDED_BY: &str = "Decided by";
    pub const DECLINE_NOTE: &str = "Why declined";
    pub const OWN_APPROVAL: &str = "You have asked for this, so somebody else has to approve it.";
    pub const ABOUT_YOURSELF: &str = "This is about yourself, so somebody else has to approve it.";
    pub const WHY_DECLINED: &str = "Why, if you decline";
    pub const APPROVE: &str = "Approve";
    pub const DECLINE: &str = "Decline";

    pub const RELEASE_REWARD: &str = "Release";
    pub const HOLD_REWARD: &str = "Hold";
    pub const HELD_BY_OPERATOR: &str = "Held by an operator";
    pub const DISPUTED: &str = "Open dispute";
    pub const REWARDS: &str = "Rewards";
    pub const REWARD: &str = "Reward";
    pub const BY: &str = "Through";
    pub const NO_REWARDS: &str = "No rewards yet";
    pub const NO_REWARDS_WORDS: &str = "What this person earns in the program appears here.";
    pub const LEDGER: &str = "Latest entries";
    pub const ENTRY: &str = "Entry";
    pub const WHEN: &str = "When";
    pub const BALANCE: &str = "Balance";
    pub const NO_ENTRIES: &str = "No entries yet";
    pub const NO_ENTRIES_WORDS: &str = "Whatever moves the balance appears here.";
    pub const AVAILABLE: &str = "Available";
    pub const PENDING: &str = "Pending";
    pub const GRANTED: &str = "Rewards granted";
    pub const CREDITED: &str = "Own purchases";
    pub const ADJUSTED: &str = "Adjusted";
    pub const REVERSED: &str = "Taken back";
    pub const SPENT: &str = "Redeemed";
    pub const EXPIRED: &str = "Expired";
    pub const TO_THE_PERSON: &str = "To the person";
    pub const ADJUST: &str = "Adjust the balance";
    pub const ADJUST_WORDS: &str = "Adds an entry that everybody who sees the balance sees. A large \
        one waits for another operator.";
    pub const SIGNED_HINT: &str = "Such as 12.50, or −12.50 to take something.";
    pub const REASON_CODE_HINT: &str =
        "A short code such as goodwill. It stays in the log, so it says nothing about anybody.";
    pub const NOTE_HINT: &str = "For operators. You can leave it out.";
    pub const ADJUST_NOW: &str = "Adjust";
    pub const STORE: &str = "Store";
    pub const STORE_WORDS: &str = "What participants can have for what is available to them.";
    pub const ITEMS: &str = "Items";
    pub const ITEM: &str = "Item";
    pub const NO_PROGRAM: &str = "There is no program yet";
    pub const NO_PROGRAM_WORDS: &str = "A store belongs to a program. Publish one first.";
    pub const NO_ITEMS: &str = "The store is empty";
    pub const NO_ITEMS_WORDS: &str = "Publish the first item with the form on this page.";
    pub const REDEEMED: &str = "Redeemed";
    pub const COST: &str = "Cost";
    pub const COST_HINT: &str = "Of one piece.";
    pub const TAKEN_OUT: &str = "Not available";
    pub const SOLD_OUT: &str = "Sold out";
    pub const IN_STORE: &str = "In the store";
    pub const NEW_ITEM: &str = "New item";
    pub const NEW_ITEM_INSTEAD: &str = "New item instead";
    pub const ITEM_ID: &str = "Id";
    pub const ITEM_ID_HINT: &str = "Your own, such as mug. It cannot be changed.";
    pub const ITEM_NAME: &str = "Name";
    pub const DESCRIPTION: &str = "Description";
    pub const STOCK: &str = "Pieces";
    pub const STOCK_HINT: &str = "Those redeemed included. Empty: any number.";
    pub const LIMIT: &str = "For one person";
    pub const LIMIT_HINT: &str = "Empty: any number.";
    pub const FROM_TIER: &str = "From tier";
    pub const FROM_TIER_HINT: &str = "Its name, such as Silver. Empty: for everybody.";
    pub const UNAVAILABLE: &str = "Nobody can redeem it at present";
    pub const PUBLISH: &str = "Publish";
    pub const SAVE: &str = "Save";
    pub const REDEMPTIONS: &str = "Redemptions";
    pub const REDEMPTIONS_WORDS: &str =
        "What participants took from the stores, and what is to be handed over.";
    pub const TO_HAND_OVER: &str = "To hand over";
    pub const FULFILLED: &str = "Handed over";
    pub const CANCELLED: &str = "Cancelled";
    pub const NO_REDEMPTIONS: &str = "Nothing here";
    pub const NO_REDEMPTIONS_WORDS: &str =
        "What participants redeem appears here, and is handed over or cancelled.";
    pub const FULFIL: &str = "Handed over";
    pub const CANCEL: &str = "Cancel it";
    pub const CANCEL_WORDS: &str = "Gives back what it cost. This cannot be undone.";

    pub fn of_reward(level: i32, rule: &str) -> String {
        format!("(the reward of {})", level_and_rule(level, rule))
    }
    pub fn until(day: &str) -> String {
        format!("Waits until {day}")
    }
    pub fn balance_of(name: &str) -> String {
        format!("Balance of {name}")
    }
    pub fn level_and_rule(level: i32, rule: &str) -> String {
        format!("level {level}, rule {rule}")
    }
    pub fn pending(amount: &str) -> String {
        format!("{amount} pending")
    }
    pub fn taken_back(amount: &str) -> String {
        format!("{amount} taken back")
    }
    pub fn so_many_rewards(count: usize) -> String {
        if count == 1 { "1 reward".into() } else { format!("{count} rewards") }
    }
    pub fn from_tier(tier: &str) -> String {
        format!("from {tier}")
    }
    pub fn per_person(limit: &str) -> String {
        format!("up to {limit} for one person")
    }
    pub fn of_stock(stock: &str) -> String {
        format!("of {stock}")
    }
    pub fn so_many_items(count: usize) -> String {
        if count == 1 { "1 item".into() } else { format!("{count} items") }
    }
    pub fn change_item(name: &str) -> String {
        format!("Change {name}")
    }
    pub fn so_many_redemptions(count: usize) -> String {
        if count == 1 { "1 redemption".into() } else { format!("{count} redemptions") }
    }
    pub fn fulfil(item: &str, name: &str) -> String {
        format!("Say that {item} was handed over to {name}")
    }
    pub fn cancel(item: &str, name: &str) -> String {
        format!("Cancel {item} of {name}")
    }
    pub fn payout(id: &str) -> String {
        format!("Payout {id}")
    }
    pub fn of_line(name: &str) -> String {
        format!("(line of {name})")
    }
    pub fn so_many_of(some: &str, all: &str) -> String {
        format!("{some} of {all}")
    }
    pub fn so_many_people(count: i64) -> String {
        if count == 1 { "1 person".into() } else { format!("{count} people") }
    }
    pub fn so_many_payouts(count: usize) -> String {
        if count == 1 { "1 payout".into() } else { format!("{count} payouts") }
    }
    pub fn so_many_lines(count: usize) -> String {
        if count == 1 { "1 line".into() } else { format!("{count} lines") }
    }
    pub fn so_many_approvals(count: usize) -> String {
        if count == 1 { "1 approval".into() } else { format!("{count} approvals") }
    }
    pub fn so_many_approvals_wait(count: &str) -> String {
        match count {
            "1" => "1 request waits for somebody who approves it.".into(),
            _ => format!("{count} requests wait for somebody who approves them."),
        }
    }
}

pub mod operator {
    pub const CHOOSE_PROGRAM: &str = "Choose a program";
    pub const SHOW_PROGRAM: &str = "Show";
    use contract::pb::{MailKind, PaymentIssueKind};

    pub const PEOPLE: &str = "People";
    pub const MONEY: &str = "Money";
    pub const SYSTEM: &str = "System";
    pub const ALL_PROGRAMS: &str = "All programs";
    pub const OVERVIEW: &str = "Overview";
    pub const OVERVIEW_WORDS: &str = "All programs, as of a moment ago.";
    pub const USERS: &str = "Users";
    pub const USERS_WORDS: &str = "Everybody who has an account, the newest first.";
    pub const PURCHASES: &str = "Purchases";
    pub const PURCHASES_WORDS: &str = "What was bought, and what each program made of it.";
    pub const COUNTERS: &str = "Counters";
    pub const PURCHASES_A_SECOND: &str = "Purchases a second";
    pub const REWARDS_A_SECOND: &str = "Rewards a second";
    /// Over how much time something is counted.
    pub fn over_seconds(seconds: u32) -> String {
        match seconds {
            0 => "counted while this page is open".into(),
            1 => "over the last second".into(),
            _ => format!("over the last {seconds} seconds"),
        }
    }
    pub const OPEN_FLAGS: &str = "Open fraud flags";
    pub const PARKED_JOBS: &str = "Parked jobs";
    pub const ALL_IS_WELL: &str = "nothing to do";
    pub const NEEDS_A_LOOK: &str = "need a look";
    pub const PROGRAMS: &str = "Programs";
    pub const PROGRAM: &str = "Program";
    pub const NO_PROGRAMS: &str = "There is no program yet";
    pub const NO_PROGRAMS_WORDS: &str = "Publish one with the command line or by the API.";
    pub const ITS_USERS: &str = "Participants";
    pub const VIEW: &str = "In detail";
    pub const TOP_REFERRERS: &str = "Top referrers";
    pub const TOP_BY: &str = "Top referrers by";
    pub const BY_REFERRALS: &str = "Referrals";
    pub const BY_CONVERSIONS: &str = "Conversions";
    pub const BY_EARNINGS: &str = "Earned";
    pub const NO_TOP: &str = "Nobody yet";
    pub const NO_TOP_WORDS: &str = "Whoever brings somebody, stands here.";
    pub const RECENT_REFERRALS: &str = "Recent referrals";
    pub const NO_REFERRALS: &str = "No referrals yet";
    pub const NO_REFERRALS_WORDS: &str =
        "Each participant has a code to share. Whoever signs up with it, stands here.";
    pub const EARNED: &str = "Earned";
    pub const BROUGHT_IN: &str = "Brought in";
    pub const REFERRED_BY: &str = "Referred by";
    pub const CONVERTING: &str = "How referrals convert";
    pub const SPAN: &str = "Time of the report";
    pub const SINCE_THE_BEGINNING: &str = "since the beginning";
    pub const NOBODY_TAKES_PART: &str = "Nobody takes part yet";
    pub const NOBODY_TAKES_PART_WORDS: &str =
        "Whoever signs up with a code of this program, or joins it, stands here.";
    pub const REFERRALS_COUNTED: &str = "Referrals that counted";
    pub const REFERRALS_COUNTED_WORDS: &str = "Without those that were held or rejected when they \
        were made: they count once they are released. Those that were rejected later stay in the number.";
    pub const OF_THEM_CONVERTED: &str = "Converted of these";
    pub const OF_REFERRALS_CONVERT: &str = "Conversion rate";
    pub const REGISTERED: &str = "Registered";
    pub const REFERRED: &str = "With a referrer";
    pub const ORGANIC: &str = "Without a referrer";
    pub const CONVERTED: &str = "Converted";
    pub const EARNED_BY_ALL: &str = "Earned by participants";
    pub const LIABILITY: &str = "Owed to participants";
    pub const DEBT: &str = "Owed by participants";
    pub const SUMS_WORDS: &str = "What participants have earned are their rewards, less what was taken \
        back. What is owed to them also has their own purchases, where a program credits them, and \
        adjustments; it no longer has what was redeemed, paid out or has expired.";
    pub const CONVERSION_RATE: &str = "Conversion, 30 days";
    pub const TIME_TO_FIRST: &str = "To the first purchase";
    pub const FILL_WITH_SAMPLE: &str = "Fill with sample people";
    pub const RECORD_PURCHASE: &str = "Record a purchase";
    pub const RECORD_ONE: &str = "Record one";
    pub const RECORD_WORDS: &str =
        "For what was bought elsewhere. It counts as if the shop had recorded it.";
    pub const RECORD: &str = "Record";
    pub const BUYER: &str = "Buyer";
    pub const BUYER_HINT: &str = "Id, username or e-mail address.";
    pub const AMOUNT: &str = "Amount";
    pub const AMOUNT_HINT: &str = "Such as 120.50.";
    pub const CURRENCY: &str = "Currency";
    pub const CURRENCY_HINT: &str = "Such as USD.";
    pub const PURCHASE_ID: &str = "Id of the purchase";
    pub const PURCHASE_ID_HINT: &str = "Left empty, one is made.";
    pub const SEARCH: &str = "Search";
    pub const SEARCH_FOR: &str = "Name, e-mail address, username, id or code";
    pub const ALL: &str = "All";
    pub const NAME: &str = "Name";
    pub const STATUS: &str = "Status";
    pub const CODE: &str = "Code";
    pub const BALANCE: &str = "Balance";
    pub const SINCE: &str = "Since";
    pub const NOBODY: &str = "Nobody";
    pub const NOBODY_WORDS: &str = "Nobody has signed up here yet.";
    pub const ACTIVE: &str = "Active";
    pub const DEACTIVATED: &str = "Deactivated";
    pub const ERASED: &str = "Erased";
    pub const ERASED_WORDS: &str = "This account is erased.";
    pub const ERASED_USER: &str = super::ERASED_USER;
    pub const BROUGHT: &str = "People they brought";
    pub const BROUGHT_NOBODY: &str = "Nobody yet";
    pub const BROUGHT_NOBODY_WORDS: &str =
        "Whoever signs up with a code of this person is shown here.";
    pub const LAST_REWARDS: &str = "Last rewards";
    pub const NO_REWARDS_YET: &str = "No rewards yet";
    pub const NO_REWARDS_WORDS: &str = "What this person is granted is shown here.";
    pub const FROM_WHOM: &str = "Thanks to";
    pub const MAILED_TO: &str = "Last mailed to";
    pub const PENDING_EMAIL: &str = "New address, not confirmed";
    pub fn brought_in_program(program: &str) -> String {
        format!("People they brought into {program}")
    }
    pub const NEWEST_OF_THEM: &str = ". The newest of them:";
    pub fn by_status_of_person(all: i32, pending: i32, converted: i32, held: i32) -> String {
        let words = format!("{all} referred: {pending} pending, {converted} converted");
        if held > 0 { format!("{words}; {held} held, which do not count yet") } else { words }
    }
    pub const ERASED_USER_WORDS: &str = "The person was erased. Names, addresses and sessions are \
        gone for good; what was recorded about money stays, under the id.";
    pub const PARTICIPANT: &str = "Participant";
    pub const OPERATOR: &str = "Operator";
    pub const ADMIN: &str = "Admin";
    pub const MAILS: &str = "Mails";
    pub const SESSIONS: &str = "Sessions";
    pub const NO_SESSIONS: &str = "Signed in nowhere.";
    pub const ACCOUNT: &str = "Account";
    pub const ID: &str = "Id";
    pub const EMAIL_CONFIRMED: &str = "Address confirmed";
    pub const SECOND_FACTOR: &str = "Second factor";
    pub const PAYOUT_METHOD: &str = "Payout method";
    pub const FLAGS: &str = "Fraud flags";
    pub const YES: &str = "Yes";
    pub const NO: &str = "No";
    pub const ACTIONS: &str = "What you can do";
    pub const DEACTIVATE: &str = "Deactivate";
    pub const DEACTIVATE_WORDS: &str =
        "A deactivated person earns nothing. Their purchases still earn for those above them.";
    pub const REACTIVATE: &str = "Reactivate";
    pub const REACTIVATE_WORDS: &str = "Nothing that was missed is paid later.";
    pub const ROLE: &str = "Role";
    pub const ROLE_HINT: &str = "Another role ends all sessions of the person.";
    pub const SET_ROLE: &str = "Change the role";
    pub const ERASE: &str = "Erase…";
    pub const ERASE_WORDS: &str = "Names, address and password are deleted for good. What was \
        earned stays in the books without them.";
    pub const ERASE_FOR_GOOD: &str = "Erase for good";
    pub const FORFEIT: &str = "Give up what has not been paid yet.";
    pub const REFERRER: &str = "Referrer";
    pub const IN_NO_PROGRAM: &str = "In no program";
    pub const IN_NO_PROGRAM_WORDS: &str = "This person does not take part anywhere.";
    pub const PAYMENTS: &str = "Unmatched payments";
    pub const PAYMENTS_WORDS: &str = "What Stripe told and could not be recorded as it was told.";
    pub const NO_PAYMENTS: &str = "Nothing waits";
    pub const NO_PAYMENTS_WORDS: &str =
        "Every payment is recorded. One that cannot be appears here, with the reason.";
    pub const FIRST_HEARD_OF: &str = "First heard of";
    pub const ATTACH: &str = "Set the buyer";
    pub const SEEN: &str = "Take off the list";
    pub const JOBS: &str = "Jobs";
    pub const JOBS_WORDS: &str = "Work that follows from what was recorded. A parked one has failed \
        too often, and waits for you.";
    pub const NO_JOBS: &str = "No jobs";
    pub const NO_JOBS_WORDS: &str = "There is nothing to do, and nothing has failed.";
    pub const ALL_JOBS: &str = "All jobs";
    pub const PARKED_ONLY: &str = "Parked ones only";
    pub const ATTEMPTS: &str = "Attempts";
    pub const RETRY: &str = "Try again";
    pub const RUNNING: &str = "Running";
    pub const DONE: &str = "Done";
    pub const NO_PURCHASES: &str = "No purchases yet";
    pub const NO_PURCHASES_WORDS: &str = "The shop records them by the API, or you do by hand.";
    pub const NO_PURCHASES_OF_PERSON: &str = "This person has bought nothing yet.";
    pub const NO_MAILS: &str = "No mails";
    pub const MAILS_WORDS: &str =
        "What was sent to people of late, what was not, and why. What is in a mail is not kept.";
    pub const EVENTS_ABOUT: &str = "Events about this person";
    pub const STAFF: &str = "Operators and admins";
    pub const NO_STAFF: &str = "No operators yet";
    pub const NO_STAFF_WORDS: &str =
        "An admin makes somebody an operator on the page of that person.";
    pub const MAILS_TO_ALL: &str = "Mails to everybody";
    pub const ALL_MAILS: &str = "All";
    pub const NO_SUCH_MAILS_WORDS: &str = "No mail of late is in this state.";
    pub const SENDING: &str = "On its way";
    pub const SEND_AGAIN: &str = "Send again";
    pub const NEXT_ATTEMPT: &str = "Next attempt";
    pub const NO_MAILS_WORDS: &str = "Nothing was sent to this person of late.";
    pub const KIND: &str = "Kind";
    pub const WHEN: &str = "When";
    pub const QUEUED: &str = "Queued";
    pub const SENT: &str = "Sent";
    pub const SKIPPED: &str = "Skipped";
    pub const PARKED: &str = "Parked";
    pub const PURCHASE: &str = "Purchase";
    pub const OUTCOME: &str = "Outcome";
    pub const QUALIFIED: &str = "Counts";
    pub const NO_REWARD: &str = "No reward";
    pub const DOES_NOT_COUNT: &str = "Does not count";
    pub const BUYER_CREDITED: &str = "Credited to the buyer";
    pub const ALL_REFUNDED: &str = "Nothing is left of this purchase to refund.";
    pub const COPY: &str = "Copy";
    pub const IN_NO_PROGRAM_THEN: &str = "The buyer was in no program, so nobody earned anything.";
    pub const BOUGHT: &str = "Bought";
    pub const RECORDED: &str = "Recorded";
    pub const REFUNDED: &str = "Refunded";
    pub const DISPUTED: &str = "Disputed";
    pub const WHO: &str = "Who";
    pub const WHAT: &str = "What";
    pub const WITHHELD: &str = "Withheld";
    pub const REWARDS: &str = "Rewards";
    pub const REFUND: &str = "Refund";
    pub const REFUND_AMOUNT: &str = "Amount";
    pub const REFUND_REASON: &str = "Reason";
    pub const REFUND_REASON_HINT: &str = "For the records. You can leave it out.";
    pub const PREVIEW: &str = "See what it takes back";
    pub const REFUND_NOW: &str = "Refund now";
    pub const AMOUNT_CHANGED: &str =
        "You have changed the amount. Nothing is refunded yet: look at what this takes back.";
    pub const TAKES_NOTHING: &str = "Nobody has to give anything back.";
    pub const TAKES_BACK: &str = "It takes back from";
    pub const SO_FAR: &str = "So far";
    pub const CANCELLED: &str = "Cancelled";
    pub const DISPUTE: &str = "Dispute";
    pub const OPEN: &str = "Open";
    pub const WON: &str = "Won";
    pub const WITHDRAWN: &str = "Withdrawn";
    pub const DISPUTE_WORDS: &str = "The buyer wants the money back from their bank. What would be \
        taken back if the dispute were lost is held back until it ends.";
    pub const OPEN_DISPUTE: &str = "Open a dispute";
    pub const DISPUTED_AMOUNT: &str = "Disputed amount";
    pub const DISPUTE_ID: &str = "Id of the dispute";
    pub const DISPUTE_ID_HINT: &str = "The payment provider's. Without one, we make one.";
    pub const NEW_AMOUNT_HINT: &str = "Only if the amount of the dispute has changed.";
    pub const DECIDE_DISPUTE: &str = "Change or end";
    pub const CHANGE_AMOUNT: &str = "Change the amount";
    pub const WON_NOW: &str = "It was won";
    pub const WITHDRAWN_NOW: &str = "It was withdrawn";
    pub const LOST_NOW: &str = "It was lost";
    pub fn disputed_amount_hint(all: &str) -> String {
        format!("Leave it empty for the whole price, {all}.")
    }
    pub const LOST: &str = "Lost";
    pub const WITHHELD_NOT_REFERRED: &str = "The buyer has no referrer.";
    pub const WITHHELD_BELOW_MINIMUM: &str = "The amount is below the minimum.";
    pub const WITHHELD_CURRENCY: &str = "The program does not take this currency.";
    pub const WITHHELD_NOT_FIRST: &str = "It is not the first purchase.";
    pub const WITHHELD_BEFORE_REFERRAL: &str = "It was made before the referral.";
    pub const WITHHELD_BEFORE_REACTIVATION: &str = "It was made before the earner was reactivated.";
    pub const WITHHELD_INACTIVE: &str = "The earner is deactivated.";
    pub const WITHHELD_CAP: &str = "The cap of the level is reached.";
    pub const WITHHELD_NOT_COUNTED: &str = "The referral does not count.";
    pub const WITHHELD_REFERRALS_ONLY: &str = "The program rewards referrals, not purchases.";
    pub const WITHHELD_ROUNDED: &str = "The share is less than the smallest unit.";
    pub const WITHHELD_HELD: &str = "The referral is held for a check.";

    pub fn days(count: i64) -> String {
        format!("{count} days")
    }
    pub fn share_of_all(percent: &str) -> String {
        format!("{percent} of all")
    }
    /// Of referrals: how many are in each status, without those that nobody is in.
    pub fn by_status(pending: i32, converted: i32, held: i32, rejected: i32) -> String {
        let parts = [
            (pending, "pending"),
            (converted, "converted"),
            (held, "held"),
            (rejected, "rejected"),
        ];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        parts.map(|(count, status)| format!("{count} {status}")).collect::<Vec<_>>().join(", ")
    }
    /// The parts of what is owed.
    pub fn parts_of_liability(available: &str, pending: &str, reserved: &str) -> String {
        format!("{available} available, {pending} pending, {reserved} in payouts")
    }
    pub fn refund_amount_hint(left: &str) -> String {
        format!("Left empty: all that is left of the purchase, {left}.")
    }
    pub fn copy(id: &str) -> String {
        format!("Copy {id}")
    }
    pub fn so_many_participants(count: usize) -> String {
        if count == 1 { "1 participant".into() } else { format!("{count} participants") }
    }
    pub fn view_of(program: &str) -> String {
        format!("{program}, in detail")
    }
    pub fn id_and_version(id: &str, version: i32) -> String {
        format!("{id}, version {version}")
    }
    pub fn version(version: i32) -> String {
        format!("Version {version}")
    }
    pub fn several_have_the_name(name: &str) -> String {
        format!("Several people have the name “{name}”.")
    }
    pub fn nobody_found(wanted: &str) -> String {
        format!("Nobody has exactly “{wanted}” as name, e-mail address, username, id or code.")
    }
    pub fn no_purchase_found(wanted: &str) -> String {
        format!("There is no purchase with the id “{wanted}”.")
    }
    pub fn people(count: usize) -> String {
        if count == 1 { "1 person".into() } else { format!("{count} people") }
    }
    pub fn so_many_purchases(count: usize) -> String {
        if count == 1 { "1 purchase".into() } else { format!("{count} purchases") }
    }
    pub fn issue(kind: PaymentIssueKind) -> &'static str {
        match kind {
            PaymentIssueKind::Unspecified => "–",
            PaymentIssueKind::NoBuyer => "No buyer",
            PaymentIssueKind::ErasedBuyer => "Erased buyer",
            PaymentIssueKind::UnusableBuyer => "No user id",
            PaymentIssueKind::UnknownBuyer => "Unknown buyer",
            PaymentIssueKind::BuyersDiffer => "Several buyers",
            PaymentIssueKind::IntentMissing => "Payment missing",
            PaymentIssueKind::AmountsDiffer => "Amounts differ",
            PaymentIssueKind::UnusableAmount => "Unusable amount",
            PaymentIssueKind::UnclearDispute => "Unclear dispute",
            PaymentIssueKind::RecordedDiffers => "Recorded otherwise",
            PaymentIssueKind::Refused => "Refused",
            PaymentIssueKind::ExceedsPurchase => "More than was paid",
        }
    }
    /// What to do about it; empty where the particulars say so.
    pub fn issue_help(kind: PaymentIssueKind) -> &'static str {
        match kind {
            PaymentIssueKind::Unspecified
            | PaymentIssueKind::NoBuyer
            | PaymentIssueKind::ErasedBuyer
            | PaymentIssueKind::UnusableBuyer
            | PaymentIssueKind::UnknownBuyer => "",
            PaymentIssueKind::BuyersDiffer => {
                "If it is not recorded yet, say who bought. If it is, it stays with that person: \
                 adjust balances if that is wrong."
            }
            PaymentIssueKind::IntentMissing => {
                "Mostly it comes soon. If not, add payment_intent.succeeded to the endpoint at \
                 Stripe and send the event again there, or record the purchase by hand with this id."
            }
            PaymentIssueKind::AmountsDiffer => {
                "Nothing can settle it. Adjust balances if the difference matters, then take it off \
                 the list."
            }
            PaymentIssueKind::UnusableAmount => {
                "It is not recorded. Record what it comes to by hand, under the id at Stripe."
            }
            PaymentIssueKind::UnclearDispute => {
                "Close the dispute on the page of the purchase once you know how it ended."
            }
            PaymentIssueKind::RecordedDiffers => {
                "What is recorded is never changed. Adjust balances if they are wrong, then take it \
                 off the list."
            }
            PaymentIssueKind::Refused => {
                "It is tried again whenever something about the payment changes."
            }
            PaymentIssueKind::ExceedsPurchase => {
                "At most what was paid counts. If a refund was recorded under an id of your own as \
                 well, cancel that one."
            }
        }
    }
    pub const AMOUNT_NOT_KNOWN: &str = "Amount not known";
    pub fn who_bought(payment_id: &str) -> String {
        format!("Who made payment {payment_id}")
    }
    pub fn seen(payment_id: &str) -> String {
        format!("Take payment {payment_id} off the list")
    }
    pub fn retry(kind: &str) -> String {
        format!("Try the job {kind} again")
    }
    pub fn so_many_payments(count: usize) -> String {
        if count == 1 { "1 payment".into() } else { format!("{count} payments") }
    }
    pub fn so_many_jobs(count: usize) -> String {
        if count == 1 { "1 job".into() } else { format!("{count} jobs") }
    }
    pub fn so_many_rewards(count: usize) -> String {
        if count == 1 { "1 reward".into() } else { format!("{count} rewards") }
    }
    pub fn refunded(amount: &str) -> String {
        format!("{amount} refunded")
    }
    pub fn taken_back(amount: &str) -> String {
        format!("{amount} taken back")
    }
    pub fn credited(amount: &str) -> String {
        format!("The buyer was credited {amount}.")
    }
    pub fn purchase(id: &str) -> String {
        format!("Purchase {id}")
    }
    pub fn level_and_rule(level: i32, rule: &str) -> String {
        format!("level {level}, rule {rule}")
    }
    pub fn would_refund(amount: &str) -> String {
        format!("This refunds {amount}.")
    }
    pub fn unconverts(programs: &str) -> String {
        format!("The referral of the buyer is pending again in {programs}.")
    }
    pub fn duration(seconds: i64) -> String {
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => "< 1 min".into(),
            (0, 0, minutes) => format!("{minutes} min"),
            (0, hours, minutes) => format!("{hours} h {minutes} min"),
            (days, hours, _) => format!("{days} d {hours} h"),
        }
    }
    pub fn mails_to(user_id: &str) -> String {
        format!("Mails to {user_id}.")
    }
    pub fn send_again(kind: &str) -> String {
        format!("Send the mail “{kind}” again")
    }
    pub fn so_many_mails(count: usize) -> String {
        if count == 1 { "1 mail".into() } else { format!("{count} mails") }
    }
    /// Why a mail was not sent; `None` if there is nothing better than the reason itself.
    pub fn skip_reason(reason: &str) -> Option<&'static str> {
        Some(match reason {
            "UNSUBSCRIBED" => "The person does not want such mails.",
            "INACTIVE" => "The person is deactivated.",
            "NO_PROFILE" => "The account is erased.",
            "NO_ADDRESS" => "The account has no address.",
            "EXPIRED" => "Its link does not work any more.",
            "NO_TOKEN" => "Its link cannot be made any more, or there were too many.",
            "NOTHING_EXPIRES" => "Nothing expires any more.",
            "NO_MAIL_SERVER" => "The server has no mail server.",
            _ => return None,
        })
    }
    pub fn mail_kind(kind: MailKind) -> &'static str {
        match kind {
            MailKind::Unspecified => "–",
            MailKind::Welcome => "Welcome",
            MailKind::Referral => "Referral",
            MailKind::Conversion => "Conversion",
            MailKind::Tier => "Tier reached",
            MailKind::ConfirmEmail => "Confirm the address",
            MailKind::PasswordReset => "Another password",
            MailKind::EmailChanged => "Address changed",
            MailKind::ConfirmSignUp => "Confirm the sign-up",
            MailKind::AccountExists => "Account exists",
            MailKind::PasswordChanged => "Password changed",
            MailKind::SecondFactorRemoved => "Second factor removed",
            MailKind::Expiry => "About to expire",
            MailKind::Reversal => "Taken back",
            MailKind::Release => "Became available",
        }
    }
}
