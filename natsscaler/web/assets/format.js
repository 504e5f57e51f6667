// Numbers and times as text. What is unknown is "–", and never zero.

import { chosen } from "./address.js";

const NUMBER = new Intl.NumberFormat("en-US");
const SHORT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const isUtc = () => chosen("tz") === "utc";

function formatter(options) {
  return new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", timeZone: isUtc() ? "UTC" : undefined, ...options });
}

const DAY = { year: "numeric", month: "2-digit", day: "2-digit" };
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

export function count(number) {
  return number === null || number === undefined ? "–" : NUMBER.format(number);
}

export function short(number) {
  return number === null || number === undefined ? "–" : number < 10_000 ? NUMBER.format(number) : SHORT.format(number);
}

export function rate(number) {
  return number === undefined || number === null ? "–" : number < 10 ? number.toFixed(1) : SHORT.format(Math.round(number));
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

export function seconds(number) {
  if (number < 90) return `${Math.round(number)} s`;
  if (number < 5400) return `${Math.round(number / 60)} min`;
  return number < 172_800 ? `${Math.round(number / 3600)} h` : `${Math.round(number / 86_400)} d`;
}

// Of a text or of milliseconds since the epoch; today's times without the date.
export function clock(moment) {
  const day = formatter(DAY);
  const today = day.format(new Date()) === day.format(new Date(moment));
  return formatter(today ? TIME : { ...DAY, ...TIME }).format(new Date(moment));
}

export function day(moment) {
  return formatter({ weekday: "long", day: "numeric", month: "long" }).format(new Date(moment));
}

// For an axis: as much of a time as the distance of two ticks needs.
export function tick(moment, distance) {
  const time = { hour: "2-digit", minute: "2-digit", second: distance < 60 ? "2-digit" : undefined };
  return formatter(distance < 86_400 ? time : { day: "numeric", month: "short" }).format(new Date(moment));
}

// A sentence of the operator's, its times as the reader's clock has them.
export function local(text) {
  return text.replace(/\d{4}-\d\d-\d\dT[\d:]+Z/g, clock);
}

// How long the backlog takes at this rate.
export function drain({ backlog, rates }) {
  if (!backlog || !rates) return "–";
  if (rates.drainSeconds !== undefined) return `~${seconds(rates.drainSeconds)}`;
  return rates.processingPerSecond === 0 ? "never" : "–";
}
