// What a shop needs of Tributary: calls that are safe to repeat, and a stream that survives a lost connection.

import { setTimeout as sleep } from "node:timers/promises";

import { type CallOptions, type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../generated/google/rpc/error_details_pb.js";
import type { BadRequest_FieldViolation } from "../generated/google/rpc/error_details_pb.js";
import { AccountService, type RegisterUserResponse } from "../generated/tributary/v1/account_service_pb.js";
import { PurchaseService } from "../generated/tributary/v1/purchase_service_pb.js";
import { RewardService, type WatchEarningsResponse } from "../generated/tributary/v1/reward_service_pb.js";

const DEADLINE_MS = 5_000;
const ATTEMPTS = 6;
const MAX_PAUSE_MS = 10_000;

/** Reasons for which a program refuses a code. The visitor is welcome all the same. */
const UNUSABLE_CODE = new Set(["REFERRAL_CODE_NOT_FOUND", "CODE_EXHAUSTED", "REFERRER_LIMIT_REACHED"]);

/** The codes of a call without an answer. In Node, a connection that is lost gives Aborted or Canceled. */
const UNANSWERED = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Aborted, Code.Canceled]);

/** Why a call failed: a reason to decide by, the facts, every fault of a field, and when to try again. */
export class ErrorDetails {
  readonly code: Code;
  readonly reason: string;
  readonly facts: Record<string, string>;
  readonly violations: BadRequest_FieldViolation[];
  readonly retryAfterMs: number;

  constructor(error: ConnectError) {
    const info = error.findDetails(ErrorInfoSchema)[0];
    const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    this.code = error.code;
    this.reason = info?.reason ?? "";
    this.facts = info?.metadata ?? {};
    this.violations = error.findDetails(BadRequestSchema).flatMap((faults) => faults.fieldViolations);
    this.retryAfterMs = delay ? Number(delay.seconds) * 1_000 + delay.nanos / 1_000_000 : 0;
  }

  /** Whether the same call can succeed later: the server says so, or did not answer at all. */
  canBeRetried(): boolean {
    return this.retryAfterMs > 0 || UNANSWERED.has(this.code);
  }

  /** Waits before the next attempt: longer each time, and a random part of it, so that clients spread. */
  async wait(attempt: number): Promise<void> {
    const pause = Math.random() * Math.min(MAX_PAUSE_MS, 100 * 2 ** attempt);
    await sleep(Math.max(this.retryAfterMs, pause));
  }
}

/** A connection to Tributary. One is enough for a whole process. */
export class Rewards {
  readonly #accounts: Client<typeof AccountService>;
  readonly #purchases: Client<typeof PurchaseService>;
  readonly #rewards: Client<typeof RewardService>;
  readonly #options: CallOptions;

  /** Takes a URL. Plain text, as in http://127.0.0.1:50051, is for a server on the same machine. */
  constructor(server: string, key: string) {
    // A server that answers no ping is gone, although the connection may look open.
    const transport = createGrpcTransport({ baseUrl: server, pingIntervalMs: 30_000, pingTimeoutMs: 10_000 });
    this.#options = { headers: { authorization: `Bearer ${key}` } };
    this.#accounts = createClient(AccountService, transport);
    this.#purchases = createClient(PurchaseService, transport);
    this.#rewards = createClient(RewardService, transport);
  }

  /** Registers a user of the shop under the shop's own user id, without the code if it is not usable. */
  async signUp(userId: string, email: string, programId: string, referralCode = ""): Promise<RegisterUserResponse> {
    const request = { userId, username: userId, email, programId, requestId: `sign-up-${userId}` };
    try {
      return await this.#call((options) => this.#accounts.registerUser({ ...request, referralCode }, options));
    } catch (error) {
      if (!UNUSABLE_CODE.has(new ErrorDetails(ConnectError.from(error)).reason)) {
        throw error;
      }
      // A refused request leaves its request id unused.
      return await this.#call((options) => this.#accounts.registerUser(request, options));
    }
  }

  /** Records a paid order. Its id is the purchase id, so it counts once however often it is sent. */
  recordOrder(orderId: string, buyerUserId: string, currencyCode: string, minorUnits: bigint) {
    const request = { purchaseId: orderId, buyerUserId, amount: { currencyCode, minorUnits } };
    return this.#call((options) => this.#purchases.recordPurchase(request, options));
  }

  /** Reads what a user has earned. Given the token of a change, the answer includes that change. */
  earnings(programId: string, userId: string, consistencyToken = "") {
    const request = { programId, userId, consistencyToken };
    return this.#call((options) => this.#rewards.getEarnings(request, options));
  }

  /**
   * Yields what a user earns, without gap or repetition, across any number of lost connections.
   *
   * Store the resume token of a message in the same transaction as what you make of the message. A message
   * without a reward is a heartbeat; its token is as good as any other.
   */
  async *watchEarnings(programId: string, userId: string, resumeToken = ""): AsyncGenerator<WatchEarningsResponse> {
    for (let attempt = 1; ; attempt += 1) {
      // Ends the call when the reader of this generator leaves it.
      const leaving = new AbortController();
      try {
        const request = { programId, userId, resumeToken };
        const options = { ...this.#options, signal: leaving.signal };
        for await (const message of this.#rewards.watchEarnings(request, options)) {
          attempt = 1;
          resumeToken = message.resumeToken;
          yield message;
        }
      } catch (error) {
        const details = new ErrorDetails(ConnectError.from(error));
        if (!details.canBeRetried()) {
          throw error;
        }
        await details.wait(attempt);
      } finally {
        leaving.abort();
      }
    }
  }

  /** Makes a call that is safe to repeat, and repeats it while that can help. */
  async #call<Answer>(call: (options: CallOptions) => Promise<Answer>): Promise<Answer> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await call({ ...this.#options, timeoutMs: DEADLINE_MS });
      } catch (error) {
        const details = new ErrorDetails(ConnectError.from(error));
        if (attempt === ATTEMPTS || !details.canBeRetried()) {
          throw error;
        }
        await details.wait(attempt);
      }
    }
  }
}
