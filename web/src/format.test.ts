import { expect, it } from "vitest";
import { awakeMinutes, duration, money, plural, relative, sentence } from "./format";

it.each([
  [0, "0 s"],
  [59.9, "59 s"],
  [60, "1 min"],
  [250, "4 min 10 s"],
  [3600, "1 h"],
  [11_130, "3 h 5 min"],
  [187_200, "2 d 4 h"],
  [-5, "0 s"],
])("duration of %d s is %s", (seconds, text) => expect(duration(seconds)).toBe(text));

it.each([
  [0, "0 min 00 s"],
  [2530, "42 min 10 s"],
])("%d awake seconds are %s", (seconds, text) => expect(awakeMinutes(seconds)).toBe(text));

it.each([
  ["2026-01-01T12:00:02Z", "now"],
  ["2026-01-01T12:00:30Z", "in 30 s"],
  ["2026-01-01T12:05:59Z", "in 5 min"],
  ["2026-01-01T09:00:00Z", "3 h ago"],
  ["2025-12-30T12:00:00Z", "2 d ago"],
  ["no moment", "no moment"],
])("%s seen at noon is %s", (at, text) => expect(relative(at, Date.parse("2026-01-01T12:00:00Z"))).toBe(text));

it("shows money exactly enough", () => {
  expect(money(0, "EUR")).toMatch(/0[.,]00$|^.?0[.,]00/);
  expect(money(26_800, "EUR")).toMatch(/0[.,]0268/);
  expect(money(12_340_000, "USD")).toMatch(/12[.,]34(?!\d)/);
  expect(money(1_000_000, "not a currency")).toBe("1.00 not a currency");
});

it("counts and begins sentences", () => {
  expect([plural(1, "visit"), plural(2, "visit")]).toEqual(["1 visit", "2 visits"]);
  expect(sentence("no host has room")).toBe("No host has room");
});
