/** When was a call, in one of the forms that lists have it in? In milliseconds since 1970, and in UTC without a zone. */
import { shown } from '../../core/errors.ts';
import { Unusable } from '../exit.ts';

/**
 *     2026-05-01T10:00:00.123Z    [RFC 3339]; a date alone, a space for the T, no zone, a zone of two or four digits
 *     2026-05-01 10:00:00.1 UTC   BigQuery
 *     5/1/2026, 10:00:00.123 AM   Log Analytics, always month first
 *     1777629600.123              seconds, milliseconds, microseconds or nanoseconds since 1970
 */
export function timeOf(value: unknown, where: string): number | undefined {
  if (value === undefined) return undefined;
  const text = String(value).trim();
  const ms = sinceEpoch(text) ?? spelled(text) ?? ofLogAnalytics(text) ?? Number.NaN;
  if (Number.isNaN(ms)) throw new Unusable(`${where}: ${shown(text)} is no time`);
  return ms;
}

function sinceEpoch(text: string): number | undefined {
  if (!/^[0-9]{9,19}(?:\.[0-9]+)?$/.test(text)) return undefined;
  const n = Number(text);
  if (n < 1e11) return n * 1_000;
  if (n < 1e14) return n;
  return n < 1e17 ? n / 1_000 : n / 1_000_000;
}

const DAY = '([0-9]{4}-[0-9]{2}-[0-9]{2})';
const TIME = '([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?)';
const ZONE = '(?: ?(Z|UTC|GMT)| ?([+-][0-9]{2}):?([0-9]{2})?)';
const SPELLED = new RegExp(`^${DAY}(?:[T ]${TIME}${ZONE}?)?$`, 'i');

function spelled(text: string): number | undefined {
  const match = SPELLED.exec(text);
  if (match === null) return undefined;
  const [, day = '', time = '00:00', , hours, minutes = '00'] = match;
  const zone = hours === undefined ? 'Z' : `${hours}:${minutes}`;
  return isDay(day) ? Date.parse(`${day}T${time.replace(',', '.')}${zone}`) : undefined;
}

const LOG_ANALYTICS =
  /^([0-9]{1,2})\/([0-9]{1,2})\/([0-9]{4}), ([0-9]{1,2}):([0-9]{2}:[0-9]{2}\.[0-9]{3}) (AM|PM)$/;

/** [Azure portal, export to CSV] The column's name says that it is UTC. */
function ofLogAnalytics(text: string): number | undefined {
  const match = LOG_ANALYTICS.exec(text);
  if (match === null) return undefined;
  const [, month = '', date = '', year, hour, rest, half] = match;
  const day = `${year}-${month.padStart(2, '0')}-${date.padStart(2, '0')}`;
  if (!isDay(day) || Number(hour) < 1 || Number(hour) > 12) return undefined;
  const hours = (Number(hour) % 12) + (half === 'PM' ? 12 : 0);
  return Date.parse(`${day}T${String(hours).padStart(2, '0')}:${rest}Z`);
}

/** The engine takes February 30 for a day in March. */
function isDay(day: string): boolean {
  const ms = Date.parse(day);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day);
}
