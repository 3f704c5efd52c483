
Try it: paste this into another shell. It uses grpcurl if that is installed, else buf from npm.

    KEY='@KEY@'
    call() {
      if command -v grpcurl >/dev/null; then
        grpcurl -plaintext -H "authorization: Bearer $KEY" -d "$2" @ADDRESS@ "tributary.v1.$1"
      else
        npx --yes @bufbuild/buf curl --protocol grpc --http2-prior-knowledge \
          -H "authorization: Bearer $KEY" -d "$2" "http://@ADDRESS@/tributary.v1.$1"
      fi
    }
    RUN=$(date +%s) PROGRAM=multi-level-commission
    call AccountService/RegisterUser '{"user_id":"ada-'$RUN'","username":"ada-'$RUN'","email":"ada'$RUN'@example.com","program_id":"'$PROGRAM'"}'
    call AccountService/RegisterUser '{"user_id":"bob-'$RUN'","username":"bob-'$RUN'","email":"bob'$RUN'@example.com","program_id":"'$PROGRAM'"}'
    call ReferralService/ApplyReferral '{"program_id":"'$PROGRAM'","referee_user_id":"bob-'$RUN'","referrer_user_id":"ada-'$RUN'"}'
    call RewardService/WatchEarnings '{"program_id":"'$PROGRAM'","user_id":"ada-'$RUN'"}' & sleep 3
    call PurchaseService/RecordPurchase '{"purchase_id":"order-'$RUN'","buyer_user_id":"bob-'$RUN'","amount":{"currency_code":"INR","minor_units":100130}}'
    sleep 1; kill $!

The stream of ada shows a commission of 5007: 5 % of the purchase of bob, whom ada referred.
