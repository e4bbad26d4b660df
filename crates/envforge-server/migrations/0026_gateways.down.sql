DROP TABLE gateway_requests;
DROP TABLE gateways;
