// The path of a referral code through the shop's web pages: from the link into a cookie, and to the sign-up.

const COOKIE = "referral_code";
const MAX_AGE_S = 30 * 24 * 60 * 60;
/** What a code of any program looks like. Anything else is not worth keeping. */
const CODE = /^[A-Za-z0-9]{6,32}$/;

/** The Set-Cookie header that answers a visit to this URL, if the URL brings a code. */
export function cookieFor(url: string): string | undefined {
  const code = new URL(url).searchParams.get("ref") ?? "";
  if (!CODE.test(code)) {
    return undefined;
  }
  return `${COOKIE}=${code}; Max-Age=${MAX_AGE_S}; Path=/; Secure; HttpOnly; SameSite=Lax`;
}

/** The code in a request's Cookie header; empty if there is none. */
export function codeFrom(cookieHeader: string): string {
  const cookies = cookieHeader.split(";").map((cookie) => cookie.trim());
  const code = cookies.find((cookie) => cookie.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1) ?? "";
  return CODE.test(code) ? code : "";
}
