import type { Dashboard, DataQuery } from "@grafana/schema";

// What JSON can say of a type: an enum's values are texts there, a query has
// members of its data source, an option that nothing is chosen of is {}, and a
// variable has the definition that Grafana writes and its types don't have.
type JSONOf<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends readonly (infer U)[]
      ? JSONOf<U>[]
      : T extends DataQuery
        ? { [K in keyof T]: JSONOf<T[K]> } & Record<string, unknown>
        : T extends { text: unknown; value: unknown }
          ? { [K in keyof T]: JSONOf<T[K]> } | Record<string, never>
          : T extends { skipUrlSync?: boolean; name: string }
            ? { [K in keyof T]: JSONOf<T[K]> } & { definition?: string }
            : T extends object
              ? { [K in keyof T]: JSONOf<T[K]> }
              : T;

export const dashboard: JSONOf<Dashboard> =
