import { z } from 'zod';

export const telemetrySchema = z.strictObject({
  metricsPort: z.int().min(0).max(65_535).nullable().default(null),
  metricsToken: z
    .string()
    .regex(/^[\x21-\x7e]{16,1024}$/, 'at least 16 printable characters without blanks')
    .nullable()
    .default(null),
  otlpEndpoint: z.string().min(1).max(2048).nullable().default(null),
  otlpHeaders: z.record(z.string(), z.string()).default({}),
});

/** What the kernel tells about itself to others; nothing unless asked. */
export interface TelemetryOptions {
  /** Port of this machine's own address for GET /metrics; 0 = any that is free, null = none. */
  readonly metricsPort: number | null;
  /** Asked for there as a bearer token; null = whatever runs on this machine may read. */
  readonly metricsToken: string | null;
  /** Where spans of calls go, by OTLP over HTTP; null = nowhere. */
  readonly otlpEndpoint: string | null;
  /** Sent along, for the collector's own keys. */
  readonly otlpHeaders: Readonly<Record<string, string>>;
}

export type UserTelemetryOptions = Partial<TelemetryOptions>;
