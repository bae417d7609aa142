-- A role for the dashboard of teams: hourly sums and names, nothing else. Run anew as often as you like:
--   psql --variable password=... --file docker/postgres/grafana.sql
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') AS missing \gset
\if :missing
CREATE ROLE grafana LOGIN;
\endif
ALTER ROLE grafana PASSWORD :'password' CONNECTION LIMIT 8;
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '10s';
GRANT USAGE ON SCHEMA public TO grafana;
GRANT SELECT ON accounts_usagehour TO grafana;
GRANT SELECT (id, name) ON accounts_team, accounts_apikey TO grafana;
