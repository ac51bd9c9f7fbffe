/** Types of the browser module of licmeter; docs/browser.md explains it. */

/** A static property of the application, which license items and projects may demand. */
export interface Validation {
  kind: "domain" | (string & {});
  value: string;
}

export type ChargeWay =
  | "per_scan"
  | "per_page"
  | "per_device"
  | "per_concurrent_device"
  | "per_concurrent_instance"
  | "per_server"
  | "per_domain";

export type DeploymentType = "browser" | "mobile" | "server" | "desktop" | "embedded";

export interface UsageClientOptions {
  /** Address of the gateway, such as `https://gateway.example.org`; a path in it is kept. */
  url: string;
  /** `lmk_…`; whoever opens the page can read it. */
  licenseKey: string;
  product?: string | null;
  /** Major version. */
  version?: string | null;
  edition?: string | null;
  /** Default: `browser`. */
  deploymentType?: DeploymentType | (string & {}) | null;
  /** Default: the project of the license key. Reports that name it follow a rotated key. */
  projectId?: string | null;
  /** Default: made once and kept in IndexedDB, so that one browser profile on one origin is one device. */
  clientUuid?: string | null;
  /** Only for items per concurrent instance. */
  instances?: number | null;
  /** Default: the host name of the page, as kind `domain`; null sends none. */
  validation?: Validation | null;
  /** Only where the project has one; then nothing can be sent while a page closes. */
  sessionPassword?: string | null;
  /** Whether a report that failed is tried again in the same session. Default: false (the next session does). */
  retryInSession?: boolean;
  /** Time between two submissions. Default: 180000. */
  submitIntervalMs?: number;
  /** How long a scan that is not seen again counts as the same. Default: 3000. */
  scanWindowMs?: number;
  /** Most reports that wait in the spool; the oldest are dropped, and said. Default: 20000. */
  spoolReportsMax?: number;
  /** Most bytes that wait in the spool. Default: 16 MiB. */
  spoolBytesMax?: number;
  /** Name of the IndexedDB database. Default: `licmeter`. */
  store?: string;
}

/** A license item as it stood at the last answer. `percent` has two decimals; null = no quota. */
export interface ItemStanding {
  item_id: string;
  state: "active" | "grace" | "blocked" | "overusing" | "capped" | "pending" | "expired" | "revoked";
  percent: string | null;
}

export interface Code {
  number: number;
  slug: string;
}

export interface AuthorizeOptions {
  feature?: string;
  /** Default: `auto`. */
  chargeWay?: ChargeWay | "auto";
  /** Default: `instances` of the client, or 1. */
  requestedInstances?: number;
}

/** Leave to run, or not. */
export interface AuthorizationAnswer {
  request_id: string;
  auth_id: string;
  at: string;
  granted: boolean;
  project_id: string | null;
  item_id: string | null;
  /** When leave ends; until then a client that cannot reach the gateway may go on. */
  local_expires_at: string | null;
  /** Why leave was refused. */
  code: Code | null;
  items: ItemStanding[];
  /** True when the gateway did not answer, and this is leave that it granted before. */
  cached?: true;
}

/** What one `flush()` did. */
export interface FlushAnswer {
  accepted: number;
  rejected: number;
  /** Reports that stay in the spool. */
  left: number;
}

/** RFC 9457, as far as the gateway says something. */
export interface Problem {
  status: number;
  title: string;
  detail: string;
}

export interface UsageStats {
  /** Units. */
  recorded: number;
  /** Calls that were not counted, as their arguments were wrong. */
  misused: number;
  /** Reports that the gateway accepted. */
  accepted: number;
  /** Reports that the gateway rejected for good. */
  rejected: number;
  /** Requests without a good answer. */
  failures: number;
  droppedReports: number;
  droppedUnits: number;
  lastProblem: Problem | null;
  /** Units of the slot that is going on. */
  openUnits: number;
  /** Reports that wait in the spool, as the last pass left it. */
  keptReports: number;
  /** Null until the store is open. */
  clientUuid: string | null;
  storage: "indexeddb" | "memory" | null;
}

/** Counts the use of licensed features, and reports it to a gateway. */
export declare class UsageClient {
  /** Begins a session. Throws `TypeError` for wrong options; nothing else here throws into the application. */
  constructor(options: UsageClientOptions);
  /** Counts successful operations of a feature, now. Never throws. */
  record(feature: string, count?: number): void;
  /** Counts a scan unless it is the same as one just seen; returns whether it was counted. Never throws. */
  recordScan(symbology: string, content: string | Uint8Array): boolean;
  /** Sends all that is kept. Never rejects. */
  flush(): Promise<FlushAnswer>;
  /** Asks for leave to run. Rejects with `LicmeterError` when there is no answer, nor a local license. */
  authorize(options?: AuthorizeOptions): Promise<AuthorizationAnswer>;
  /** Ends the session; resolves when all is kept. */
  close(): Promise<void>;
  get items(): ItemStanding[];
  get stats(): UsageStats;
}

export declare class LicmeterError extends Error {
  constructor(message: string, status: number, problem: unknown);
  name: "LicmeterError";
  /** HTTP status; 0 = no answer. */
  status: number;
  /** The body of the answer, if it was JSON. */
  problem: unknown;
}
