
Try it: paste this into another shell.

    KEY='@KEY@'
    call() { TRIBUTARY_ADMIN_KEY=$KEY @PROGRAM@ call --server '@SCHEME@://@ADDRESS@' "$@"; }
    RUN=$(date +%s) PROGRAM=multi-level-commission
    call AccountService/RegisterUser '{"user_id":"ada-'$RUN'","username":"ada-'$RUN'","email":"ada'$RUN'@example.com","password":"Corr3ct-horse","program_id":"'$PROGRAM'"}'
    call AccountService/RegisterUser '{"user_id":"bob-'$RUN'","username":"bob-'$RUN'","email":"bob'$RUN'@example.com","program_id":"'$PROGRAM'"}'
    call ReferralService/ApplyReferral '{"program_id":"'$PROGRAM'","referee_user_id":"bob-'$RUN'","referrer_user_id":"ada-'$RUN'"}'
    TOKEN=$(call AccountService/Login '{"login":"ada-'$RUN'","password":"Corr3ct-horse"}' | sed -n 's/.*"accessToken": "\(.*\)".*/\1/p')
    (sleep 3; call PurchaseService/RecordPurchase '{"purchase_id":"order-'$RUN'","buyer_user_id":"bob-'$RUN'","amount":{"currency_code":"INR","minor_units":100130}}' >/dev/null) &
    KEY=$TOKEN call RewardService/WatchEarnings '{"program_id":"'$PROGRAM'","user_id":"ada-'$RUN'"}'

Ada logs in, and the last command shows her earnings as they arrive, with her access token in place of the key;
Ctrl-C ends it. After three seconds bob, whom ada referred, buys for 1001.30 INR (100130 paise), and a
commission of 50.07 INR arrives: 5 %, rounded half up.

'call' alone lists all RPCs, and 'call --describe RewardService/GetTier' shows what one of them takes.
Other clients work as well: grpcurl @PLAINTEXT@@ADDRESS@ list
